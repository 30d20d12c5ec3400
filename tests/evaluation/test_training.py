"""What the encoder may see: by split and licence; and the curve's figures by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from core.types import Vectors
from evaluation.datasets import read_labelled, read_skills
from evaluation.prepare import Prepared, read_verified
from evaluation.split import summary
from evaluation.training import Corpus, read_corpus
from evaluation.types import Place, Split
from evaluation.written import REQUESTS, TASKS, split_of, written_queries, written_together
from reranker.learn.examples import PEOPLE, WrittenTask
from tests.evaluation.small_folder import STRAY, write_folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = write_folder(tmp_path_factory.mktemp("rows"))
    labelled = read_labelled(folder, read_skills(folder))
    return read_verified(folder, "full", summary(labelled.sources, labelled.assignment))


@pytest.fixture(scope="module")
def sides(prepared: Prepared) -> dict[Split | None, list[Place]]:
    found: dict[Split | None, list[Place]] = {}
    for place in prepared.skills:
        found.setdefault(prepared.labelled.assignment.of_skill(place), []).append(place)
    return found


def written(prepared: Prepared, *tasks: tuple[Place, ...]) -> Prepared:
    rows = [
        WrittenTask(qid=f"task-{n}", text=f"do {n}", skills=skills, language="en", long=True)
        for n, skills in enumerate(tasks)
    ]
    queries = written_queries(rows, prepared.skills, prepared.labelled.assignment)
    return replace(prepared, written=tuple(queries))


def queries_of(corpus: Corpus) -> set[str]:
    return {
        text
        for skill in corpus.train
        for source, texts in skill.queries.items()
        if source in PEOPLE
        for text in texts
    }


def test_nothing_of_a_held_out_skill_is_trained_on(
    prepared: Prepared, sides: dict[Split | None, list[Place]]
) -> None:
    train, test = sides[Split.TRAIN][0], sides[Split.TEST][0]
    corpus = read_corpus(written(prepared, (train,), (train, test)))
    assert {skill.place for skill in corpus.train} == {
        *sides[Split.TRAIN],
        *sides.get(None, []),
    }
    rows = [q for q in prepared.labelled.queries if q.split is Split.TRAIN and q.relevant]
    expected = {q.text for q in rows if not q.names_skill and q.relevant[0] in prepared.skills}
    assert queries_of(corpus) == expected | {"do 0"}
    assert {query.split for query in corpus.held_out.queries} == {Split.CALIBRATION}


def test_a_skill_whose_licence_forbids_it_is_not_trained_on(
    prepared: Prepared, sides: dict[Split | None, list[Place]]
) -> None:
    place = sides[Split.TRAIN][0]
    for licence in (None, "GPL-3.0"):
        closed = replace(prepared.skills[place], licence=licence)
        corpus = read_corpus(replace(prepared, skills={**prepared.skills, place: closed}))
        assert place not in {skill.place for skill in corpus.train}
        texts = {q.text for q in prepared.labelled.queries if place in q.relevant}
        assert texts and not texts & queries_of(corpus)


def test_the_curve_counts_first_places_within_and_finds_over_all(
    prepared: Prepared, sides: dict[Split | None, list[Place]]
) -> None:
    place = sides[Split.CALIBRATION][0]
    held_out = read_corpus(written(prepared, (place,))).held_out
    row_of = {skill.place: row for row, skill in enumerate(held_out.skills)}
    texts = {text: row for row, s in enumerate(held_out.skills) for text in s.passages.values()}
    asked = {query.text: row_of[query.relevant[0]] for query in held_out.queries}

    def knowing(words: Sequence[str]) -> Vectors:
        rows = [texts.get(text, asked.get(text, -1)) for text in words]
        return np.eye(len(row_of), dtype=np.float32)[rows]

    right = held_out.measure(knowing)
    assert right and set(right.values()) == {1.0} and TASKS in right
    wrong = held_out.measure(lambda words: knowing(words) * (1 if words[0] in texts else -1))
    assert {value for name, value in wrong.items() if name != TASKS} == {0.0}


def test_a_written_row_is_as_strict_as_its_strictest_skill(
    prepared: Prepared, sides: dict[Split | None, list[Place]]
) -> None:
    assignment = prepared.labelled.assignment
    train, held, test = (sides[side][0] for side in (Split.TRAIN, Split.CALIBRATION, Split.TEST))
    assert split_of([train], assignment) is Split.TRAIN
    assert split_of([train, held], assignment) is Split.CALIBRATION
    assert split_of([held, train, test], assignment) is Split.TEST
    assert split_of(["of/nobody/known"], assignment) is Split.TRAIN


def test_a_written_row_keeps_its_kind_and_goes_with_its_task(prepared: Prepared) -> None:
    place = f"{STRAY}/other"
    tasks = [
        WrittenTask(qid="task-7", text="a", skills=(place,), language="zh", long=True),
        WrittenTask(qid="task-7-request-1", text="b", skills=(place,), language="en", long=False),
        WrittenTask(qid="task-8", text="c", skills=("not/here/x",), language="en", long=True),
    ]
    rows = written_queries(tasks, prepared.skills, prepared.labelled.assignment)
    assert [(row.qid, row.source, row.language) for row in rows] == [
        ("task-7", TASKS, "zh"),
        ("task-7-request-1", REQUESTS, "en"),
    ]
    assert set(written_together(rows).values()) == {"task-7"}
