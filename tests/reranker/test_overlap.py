"""The word-overlap reranker: what it prefers and what it never does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reranker.overlap import OverlapReranker
from reranker.pairs import Document

texts = st.lists(
    st.sampled_from(["pdf", "merge", "split", "table", "index", "query", "bread"]), max_size=12
)
documents = st.builds(
    lambda name, description, body: Document(
        name=" ".join(name), description=" ".join(description), body=" ".join(body)
    ),
    texts,
    texts,
    texts,
)


def document(name: str, description: str = "", body: str = "") -> Document:
    return Document(name=name, description=description, body=body)


def test_the_skill_that_holds_more_of_the_tasks_words_scores_higher() -> None:
    both, one, none = OverlapReranker().score(
        "merge the pdf", [document("pdf merge"), document("pdf"), document("bread")]
    )
    assert both > one > none == 0


def test_a_word_in_the_name_counts_more_than_in_the_description_than_in_the_body() -> None:
    name, description, body = OverlapReranker().score(
        "merging", [document("merge"), document("x", "merge"), document("y", "", "merge")]
    )
    assert name > description > body > 0


def test_a_word_that_every_candidate_holds_tells_little() -> None:
    shared = [document("pdf merge"), document("pdf split"), document("pdf table")]
    merge, split, _ = OverlapReranker().score("merge pdf", shared)
    assert merge > 5 * split


def test_a_task_without_words_scores_nothing() -> None:
    assert OverlapReranker().score("... !?", [document("pdf")]) == [0.0]


@given(texts.map(" ".join), st.lists(documents, max_size=6))
def test_scores_lie_between_0_and_1_and_follow_the_documents(
    task: str, candidates: list[Document]
) -> None:
    scores = OverlapReranker().score(task, candidates)
    assert len(scores) == len(candidates)
    assert all(0 <= score <= 1.0000001 for score in scores)
    assert OverlapReranker().score(task, candidates[::-1]) == scores[::-1]
