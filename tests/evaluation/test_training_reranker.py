"""The reranker's run over rows by split: what it reads, its held-out figures, and its files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from core.embedding import MODELS, HashingEmbedder, described_space
from core.types import Candidate
from evaluation.datasets import read_labelled, read_skills
from evaluation.prepare import read_verified
from evaluation.split import summary
from evaluation.training import Corpus, read_corpus
from evaluation.training_reranker import (
    FIGURES_FILE,
    HELD_OUT_DEPTH,
    by_first_stage,
    first_stage,
    held_out_candidates,
    train_reranker,
)
from evaluation.types import catalogue_of
from reranker.interaction import Standing
from reranker.late_interaction import Card, Head
from reranker.learn.examples import PEOPLE, TrainingSkill, without_boilerplate
from reranker.learn.judged import JudgedRow, key
from reranker.learn.run import TrainingError
from reranker.learn.train_reranker import Recipe
from reranker.load import load_reranker
from tests.evaluation.small_folder import write_folder

ENCODER = "minilm-l6-v2"
RECIPE = Recipe(epochs=1, lists=4, hidden=4, heads=2)


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
    assert best.row == asked and all(each.score <= best.score for each in others)
    within = stage.fused(skills[asked].document.description, home, 6)
    assert {catalogue_of(skills[each.row].place) for each in within} == {home}


def test_held_out_questions_are_asked_of_the_first_stages_best(corpus: Corpus) -> None:
    held_out = held_out_candidates(corpus.held_out, HashingEmbedder())
    asked = {query.qid: query for query in corpus.held_out.queries}
    assert held_out.candidates.keys() == asked.keys()
    assert all(len(found) <= HELD_OUT_DEPTH for found in held_out.candidates.values())
    right = dict(zip(asked, corpus.held_out.right, strict=True))
    rows_of = {asked[qid].text: rows for qid, rows in right.items()}

    def knowing(better: bool):  # type: ignore[no-untyped-def]
        def scores(text: str, candidates: Sequence[Candidate]) -> list[float]:
            return [float((each.row in rows_of[text]) is better) for each in candidates]

        return scores

    listed = {
        qid
        for qid, found in held_out.candidates.items()
        if right[qid] & {each.row for each in found}
    }
    best = held_out.measure(knowing(better=True))
    for source, value in best.items():
        of_source = [qid for qid in asked if asked[qid].source == source]
        of_source = [qid for qid in of_source if held_out.candidates[qid]]
        assert value == pytest.approx(sum(qid in listed for qid in of_source) / len(of_source))
    worst = held_out.measure(knowing(better=False))
    fused = held_out.measure(by_first_stage)
    assert best.keys() == fused.keys() and sum(worst.values()) < sum(best.values())


@pytest.fixture
def judged(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of lists over the small folder's skills, in place of the shipped one."""
    skills = without_boilerplate(corpus.train)
    rows = [
        JudgedRow(asked=key(text), catalogue=None, skills=_beside(skills, row), right=1)
        for row, skill in enumerate(skills)
        for source in PEOPLE
        for text in skill.queries.get(source, ())
    ]
    file = tmp_path / "judged.jsonl"
    file.write_text("".join(row.model_dump_json() + "\n" for row in rows))
    monkeypatch.setattr("reranker.learn.judged.judged_lists.__defaults__", (file,))
    assert len(rows) >= 3
    return file


def _beside(skills: Sequence[TrainingSkill], row: int) -> tuple[str, ...]:
    return tuple(dict.fromkeys(skills[(row + n) % len(skills)].place for n in (0, 1, 3, 7)))


def run(corpus: Corpus, folder: Path, heard: list[str]) -> list[dict[str, float]]:
    return train_reranker(
        corpus,
        RECIPE,
        folder / "run",
        folder / "model",
        encoder=str(MODELS / ENCODER),
        name="small",
        on_list=lambda done, total: heard.append(f"{done} of {total}"),
    )


def test_a_run_over_a_small_folder_writes_a_reranker_that_scores(
    corpus: Corpus, judged: Path, tmp_path: Path
) -> None:
    heard: list[str] = []
    before, after = run(corpus, tmp_path, heard)
    count = len(judged.read_text().splitlines())
    assert heard[-1] == f"{count} of {count}"
    assert (before["step"], after["step"]) == (0, 1) and before.keys() == after.keys()
    reranker = load_reranker(str(tmp_path / "model"))
    documents = [skill.document for skill in corpus.train[:3]]
    standings = [Standing(fused=0.5, dense=None, lexical=None)] * 3
    assert reranker.name == "small"
    card = Card.read(tmp_path / "model")
    assert card.encoder == ENCODER
    assert card.revision == described_space(MODELS / ENCODER).revision
    centre = Head.read(tmp_path / "model").centre
    assert centre.shape == (384,) and np.linalg.norm(centre) > 0
    assert np.isfinite(reranker.score("any task", documents, standings)).all()


def test_a_run_that_was_cut_off_reads_only_what_it_had_not(
    corpus: Corpus, judged: Path, tmp_path: Path
) -> None:
    run(corpus, tmp_path, [])
    file = tmp_path / "run" / FIGURES_FILE
    whole = file.read_text()
    head = (tmp_path / "model" / "head.npz").read_bytes()
    first_three = "".join(whole.splitlines(keepends=True)[:3])
    file.write_text(whole[: len(first_three) + 50])  # torn within the third list
    heard: list[str] = []
    run(corpus, tmp_path, heard)
    assert heard[0].startswith("3 of ") and file.read_text() == whole
    assert (tmp_path / "model" / "head.npz").read_bytes() == head


def test_a_run_over_other_lists_or_none_is_refused(
    corpus: Corpus, judged: Path, tmp_path: Path
) -> None:
    run(corpus, tmp_path, [])
    lines = judged.read_text().splitlines(keepends=True)
    judged.write_text("".join(lines[::-1]))
    with pytest.raises(TrainingError, match="other lists"):
        run(corpus, tmp_path, [])
    judged.write_text("")
    with pytest.raises(TrainingError, match="No judged list"):
        run(corpus, tmp_path, [])
