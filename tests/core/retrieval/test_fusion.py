import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.retrieval.fuse import fuse
from core.types import ArmHit

WEIGHTS = {"dense": 0.7, "lexical": 0.3}

scores = st.floats(-1, 40, allow_nan=False)
arm = st.dictionaries(st.integers(0, 30), scores, max_size=20).map(
    lambda found: [ArmHit(row=row, score=score) for row, score in found.items()]
)
arms = st.fixed_dictionaries({"dense": arm, "lexical": arm})


@given(hits=arms)
def test_scores_lie_between_0_and_1_and_fall(hits: dict[str, list[ArmHit]]) -> None:
    fused = [candidate.score for candidate in fuse(hits, WEIGHTS, 50)]
    assert all(0 <= score <= 1 for score in fused)
    assert fused == sorted(fused, reverse=True)


@given(hits=arms, seed=st.integers())
def test_the_order_of_hits_and_arms_does_not_matter(
    hits: dict[str, list[ArmHit]], seed: int
) -> None:
    shuffle = random.Random(seed)
    mixed = {name: shuffle.sample(hits[name], len(hits[name])) for name in ("lexical", "dense")}
    assert fuse(mixed, WEIGHTS, 50) == fuse(hits, WEIGHTS, 50)


@given(hits=arms, rise=st.floats(0, 10), name=st.sampled_from(["dense", "lexical"]), data=st.data())
def test_a_better_score_never_costs_a_place(
    hits: dict[str, list[ArmHit]], rise: float, name: str, data: st.DataObject
) -> None:
    if not hits[name]:
        return
    lifted = data.draw(st.sampled_from(hits[name]))
    better = [
        ArmHit(row=hit.row, score=hit.score + rise) if hit is lifted else hit for hit in hits[name]
    ]

    def place(of: dict[str, list[ArmHit]]) -> tuple[float, int]:
        ranked = fuse(of, WEIGHTS, 50)
        found = next(c for c in ranked if c.row == lifted.row)
        above = sum(c.score > found.score + 1e-9 for c in ranked)
        return found.score, above

    score, above = place(hits)
    better_score, better_above = place({**hits, name: better})
    assert better_score >= score - 1e-9
    assert better_above <= above


def test_best_in_every_arm_scores_1_and_best_in_one_scores_its_weight() -> None:
    hits = {
        "dense": [ArmHit(row=1, score=0.8, passage=2), ArmHit(row=2, score=0.4, passage=0)],
        "lexical": [ArmHit(row=1, score=20.0), ArmHit(row=3, score=10.0)],
    }
    first, second, third = fuse(hits, WEIGHTS, 10)
    assert (first.row, first.score, first.passage) == (1, 1.0, 2)
    assert second.row == 2
    assert second.score == pytest.approx(0.35)
    assert (third.row, third.passage) == (3, None)
    assert third.score == pytest.approx(0.15)
    assert first.arm_scores == {"dense": 0.8, "lexical": 20.0}


def test_an_arm_that_did_not_run_takes_no_weight() -> None:
    hit = ArmHit(row=1, score=5.0)
    assert fuse({"lexical": [hit]}, WEIGHTS, 1)[0].score == 1.0
    assert fuse({"lexical": [hit], "dense": []}, WEIGHTS, 1)[0].score == pytest.approx(0.3)


def test_ties_are_ordered_by_row_and_k_cuts() -> None:
    hits = {"dense": [ArmHit(row=row, score=0.5) for row in (9, 3, 7)]}
    assert [candidate.row for candidate in fuse(hits, WEIGHTS, 2)] == [3, 7]


def test_hits_at_or_below_0_score_0() -> None:
    hits = {"dense": [ArmHit(row=1, score=-0.2), ArmHit(row=2, score=0.0)]}
    assert [candidate.score for candidate in fuse(hits, WEIGHTS, 2)] == [0.0, 0.0]


def test_an_arm_without_a_weight_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        fuse({"unheard": []}, WEIGHTS, 1)
