"""Batches under a token budget."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reranker.batcher import token_batches

lengths = st.lists(st.integers(1, 300), max_size=40)


@given(lengths, st.integers(1, 1_000))
def test_every_text_comes_once_and_no_batch_is_over_budget_but_for_one_text(
    found: list[int], budget: int
) -> None:
    batches = list(token_batches(found, budget))
    assert sorted(index for batch in batches for index in batch) == list(range(len(found)))
    for batch in batches:
        padded = len(batch) * max(found[index] for index in batch)
        assert padded <= budget or len(batch) == 1


def test_texts_of_similar_length_are_together_longest_first() -> None:
    assert list(token_batches([10, 90, 12, 100], 200)) == [[3, 1], [2, 0]]
