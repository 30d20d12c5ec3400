"""Batches of neighbours: whom they hold, whom never, and that they are the same each time."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from core.embedding import HashingEmbedder
from core.types import PassageKind, Vectors
from reranker.learn.batches import KNOT, Kinship, Neighbours, batches, neighbours
from reranker.learn.examples import TrainingSkill

TRADES = ("baking bread", "tuning databases", "filing taxes", "training dogs")


def skill(
    number: int, *, name: str = "", body: str = "", twins: str | None = None
) -> TrainingSkill:
    trade = TRADES[number % len(TRADES)]
    text = f"skill number{number} about {trade}"
    passages = {PassageKind.ROUTING: text, PassageKind.BODY: body or f"{text} " + f"w{number} " * 9}
    return TrainingSkill(
        place=f"o/r/{number}", name=name or f"skill-{number}", passages=passages, twins=twins
    )


def embedded(skills: list[TrainingSkill]) -> Vectors:
    return HashingEmbedder().embed([each.routing for each in skills])


@pytest.fixture(scope="module")
def mined() -> tuple[list[TrainingSkill], Kinship, Neighbours]:
    skills = [skill(number) for number in range(96)]
    skills[4] = skill(4, name="skill-0")
    vectors = embedded(skills)
    kinship = Kinship(skills, vectors)
    return skills, kinship, neighbours(skills, vectors, kinship, seed=1)


def test_who_may_be_right_as_well() -> None:
    body = "the very same words stand here in this order, and there are quite a few of them"
    skills = [
        skill(0, name="One", body=body),
        skill(1, name="one"),
        skill(2, body=f"{body} indeed"),
        skill(3, twins="t"),
        skill(4, twins="t"),
        skill(5),
    ]
    found = Kinship(skills, np.eye(6, dtype=np.float32)).may_share(np.arange(6), np.arange(6))
    pairs = {(int(a), int(b)) for a, b in np.argwhere(found) if a < b}
    assert pairs == {(0, 1), (0, 2), (3, 4)}
    alike = np.ones((6, 1), dtype=np.float32)
    assert Kinship(skills, alike).may_share(np.arange(6), np.arange(6)).all()


def test_neighbours_are_of_the_trade_and_never_kin_or_itself(
    mined: tuple[list[TrainingSkill], Kinship, Neighbours],
) -> None:
    _, kinship, near = mined
    for kind in (near.meaning, near.words, near.trade):
        for row, found in enumerate(kind):
            others = found[found >= 0]
            assert len(others) == len(set(others.tolist())) > 0
            assert not kinship.may_share(np.array([row]), others).any()
        assert 4 not in kind[0]
    nearest = near.meaning[8][:5]
    assert all(number % len(TRADES) == 0 for number in nearest)


def test_an_epoch_opens_a_knot_with_every_head_and_is_the_same_when_gone_on_with(
    mined: tuple[list[TrainingSkill], Kinship, Neighbours],
) -> None:
    _, _, near = mined
    heads = np.arange(96)
    size = 2 * KNOT
    epoch = list(islice(batches(heads, size, near, seed=3), 48))
    assert set(np.concatenate(epoch).tolist()) == set(range(96))
    assert all(len(set(batch.tolist())) == len(batch) <= size for batch in epoch)
    assert any(len(batch) < size for batch in epoch)  # a skill that is in both knots
    resumed = list(islice(batches(heads, size, near, seed=3, start=40), 8))
    assert all(np.array_equal(one, other) for one, other in zip(epoch[40:], resumed, strict=True))
    other = next(batches(heads, size, near, seed=4))
    assert not np.array_equal(epoch[0], other)


def test_without_neighbours_an_epoch_holds_every_skill_once() -> None:
    epoch = list(islice(batches(np.arange(96), 16, None, seed=1), 6))
    assert sorted(np.concatenate(epoch).tolist()) == list(range(96))
