"""The committed split of the development data, where LOADSTAR_DATA says that they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from evaluation.datasets import Labelled, Skills, read_labelled, read_skills, twins_of
from evaluation.pool import QUICK_POOL, quick_pool
from evaluation.split import SHARES, committed, skills_of, summary
from evaluation.types import Split

DATA = os.environ.get("LOADSTAR_DATA", "")

pytestmark = pytest.mark.skipif(
    not DATA, reason="LOADSTAR_DATA does not name the development data, which are not shipped"
)


@pytest.fixture(scope="module")
def skills() -> Skills:
    return read_skills(Path(DATA))


@pytest.fixture(scope="module")
def labelled(skills: Skills) -> Labelled:
    return read_labelled(Path(DATA), skills)


def test_the_split_is_the_committed_one(labelled: Labelled) -> None:
    assert summary(labelled.sources, labelled.assignment) == committed()


def test_no_skill_or_twin_of_a_test_row_is_in_train(skills: Skills, labelled: Labelled) -> None:
    twins = twins_of(skills)
    seen: dict[Split, set[str]] = {split: set() for split in Split}
    for row in labelled.rows:
        seen[row.split] |= {twins.get(place, place) for place in skills_of(row)}
    assert not seen[Split.TEST] & (seen[Split.TRAIN] | seen[Split.CALIBRATION])


@pytest.mark.parametrize("source", ["uipath", "nvidia", "salesforce", "salesforce-variants"])
def test_a_labelled_set_is_within_six_points_of_the_shares(source: str) -> None:
    rows = committed()["rows"][source]
    for split, share in SHARES.items():
        assert rows[split.value] / sum(rows.values()) == pytest.approx(share, abs=0.06)


def test_the_quick_pool_holds_every_needed_skill(skills: Skills, labelled: Labelled) -> None:
    pool = quick_pool(skills, labelled.rows)
    assert len(pool) == QUICK_POOL
    assert {place for row in labelled.rows for place in skills_of(row) if place in skills} <= pool
