"""The run that learns whether a task needs a skill: what it learns from, and its file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from core.embedding import HashingEmbedder
from core.types import Space
from evaluation.datasets import METATOOL, read_labelled, read_skills
from evaluation.prepare import Prepared, read_verified
from evaluation.split import summary
from evaluation.training_need import AWARENESS, train_need
from evaluation.types import Split
from reranker.learn.fit_need import read_needless
from reranker.need import load_need
from tests.evaluation.rows import a_query
from tests.evaluation.small_folder import write_folder

TASKS = (
    "Merge the quarterly contracts into one PDF with bookmarks and page numbers.",
    "Rotate the nginx logs on both hosts and ship them to the archive every night.",
    "Write Apex tests for the opportunity trigger until the coverage gate lets it pass.",
)


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    folder = write_folder(tmp_path / "rows")
    labelled = read_labelled(folder, read_skills(folder))
    read = read_verified(folder, "full", summary(labelled.sources, labelled.assignment))
    written = [a_query(f"task-{n}", text=text, split=Split.TRAIN) for n, text in enumerate(TASKS)]
    held_out = a_query("task-9", text="Draw the sales by month.", split=Split.TEST)
    asked = [
        a_query("a-1", "some/tool", text=TASKS[0], source=AWARENESS, split=Split.CALIBRATION),
        a_query("a-2", text="hello!", source=AWARENESS, split=Split.CALIBRATION),
    ]
    return replace(
        read,
        written=(*written, held_out),
        labelled=replace(read.labelled, queries=tuple(asked)),
    )


def test_it_learns_from_the_train_side_alone_and_writes_what_a_route_reads(
    prepared: Prepared, tmp_path: Path
) -> None:
    file = tmp_path / "need.json"
    figures = train_need(prepared, "hashing", file)
    assert figures["needing"] == len(TASKS)
    assert figures["needless"] == len(read_needless())
    assert figures[AWARENESS] == 1.0
    space: Space = HashingEmbedder().space
    need = load_need(space, file)
    assert need is not None and len(need.weights) == space.dimension
    assert json.loads(file.read_text())["encoder"] == space.revision
    assert METATOOL not in file.read_text()
