"""The reranker's run over rows by split: what it reads, its curve by hand, and what it writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from core.embedding import HashingEmbedder
from evaluation.datasets import read_labelled, read_skills
from evaluation.prepare import read_verified
from evaluation.split import summary
from evaluation.training import Corpus, read_corpus
from evaluation.training_reranker import (
    CURVE_DEPTH,
    first_stage,
    held_out_candidates,
    train_reranker,
)
from evaluation.types import catalogue_of
from reranker.learn.export_encoder import start_model
from reranker.learn.train_reranker import Recipe
from reranker.load import load_reranker
from reranker.pairs import Document
from tests.evaluation.small_folder import write_folder

RECIPE = Recipe(steps=2, skills=8, layers=2)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = write_folder(tmp_path_factory.mktemp("rows"))
    labelled = read_labelled(folder, read_skills(folder))
    return read_corpus(
        read_verified(folder, "full", summary(labelled.sources, labelled.assignment))
    )


def test_the_first_stage_finds_what_is_asked_for(corpus: Corpus) -> None:
    skills = corpus.train
    stage = first_stage(skills, HashingEmbedder())
    asked = next(row for row, skill in enumerate(skills) if skill.document.description)
    home = catalogue_of(skills[asked].place)
    best, *others = stage.fused(skills[asked].document.description, None, 6)
    assert best[0] == asked and all(score <= best[1] for _, score in others)
    within = stage.fused(skills[asked].document.description, home, 6)
    assert {catalogue_of(skills[row].place) for row, _ in within} == {home}


def test_the_curve_asks_held_out_questions_of_the_first_stages_best(corpus: Corpus) -> None:
    curve = held_out_candidates(corpus.held_out, HashingEmbedder())
    asked = {query.qid: query for query in corpus.held_out.queries}
    assert curve.candidates and curve.candidates.keys() <= asked.keys()
    assert all(0 < len(found) <= CURVE_DEPTH for found in curve.candidates.values())
    right = dict(zip(asked, corpus.held_out.right, strict=True))
    texts = {asked[qid].text: right[qid] for qid in curve.candidates}
    row_of = {skill.document: row for row, skill in enumerate(corpus.held_out.skills)}

    def knowing(better: bool):  # type: ignore[no-untyped-def]
        def score(task: str, documents: Sequence[Document]) -> list[float]:
            return [100.0 * ((row_of[d] in texts[task]) is better) for d in documents]

        return score

    listed = {
        qid for qid, found in curve.candidates.items() if right[qid] & {row for row, _ in found}
    }
    best = curve.measure(knowing(better=True))
    assert best.keys() == {asked[qid].source for qid in curve.candidates}
    for source, value in best.items():
        of_source = [qid for qid in curve.candidates if asked[qid].source == source]
        assert value == pytest.approx(sum(qid in listed for qid in of_source) / len(of_source))
    worst = curve.measure(knowing(better=False))
    assert sum(worst.values()) < sum(best.values())


def test_a_run_over_a_small_folder_writes_a_reranker_that_scores(
    corpus: Corpus, tmp_path: Path
) -> None:
    heard: list[str] = []
    curve = train_reranker(
        corpus,
        RECIPE,
        tmp_path / "run",
        tmp_path / "model",
        start=start_model(),
        device="cpu",
        name="small",
        every=1,
        on_step=lambda done, total, detail: heard.append(f"{done} of {total}"),
    )
    assert [line["step"] for line in curve] == [0, 1, 2] and "2 of 2" in heard
    reranker = load_reranker(str(tmp_path / "model"))
    documents = [skill.document for skill in corpus.train[:3]]
    assert reranker.name == "small" and len(reranker.score("any task", documents)) == 3
