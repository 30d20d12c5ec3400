import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.retrieval.fuse import fuse
from core.types import ArmHit

WEIGHTS = {"dense": 0.7, "lexical": 0.3}


def hit(row: int, share: float, passage: int | None = None) -> ArmHit:
    return ArmHit(row=row, score=30 * share, share=share, passage=passage)


shares = st.floats(0, 1, allow_nan=False)
arm = st.dictionaries(st.integers(0, 30), shares, max_size=20).map(
    lambda found: [hit(row, share) for row, share in found.items()]
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


@given(hits=arms, rise=st.floats(0, 1), name=st.sampled_from(["dense", "lexical"]), data=st.data())
def test_a_better_score_never_costs_a_place(
    hits: dict[str, list[ArmHit]], rise: float, name: str, data: st.DataObject
) -> None:
    if not hits[name]:
        return
    lifted = data.draw(st.sampled_from(hits[name]))
    better = [
        replace(each, share=min(each.share + rise, 1.0)) if each is lifted else each
        for each in hits[name]
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


def test_a_score_is_the_weighted_mean_of_the_shares() -> None:
    hits = {"dense": [hit(1, 0.8, passage=2)], "lexical": [hit(1, 0.5)]}
    [found] = fuse(hits, WEIGHTS, 10)
    assert (found.row, found.passage) == (1, 2)
    assert found.score == pytest.approx(0.7 * 0.8 + 0.3 * 0.5)
    assert found.arm_scores == {"dense": 24.0, "lexical": 15.0}


def test_a_skill_that_an_arm_left_out_counts_as_its_last_hit() -> None:
    hits = {"dense": [hit(1, 0.8), hit(2, 0.4)], "lexical": [hit(3, 0.5), hit(1, 0.2)]}
    scores = {found.row: found.score for found in fuse(hits, WEIGHTS, 10)}
    assert scores[2] == pytest.approx(0.7 * 0.4 + 0.3 * 0.2)
    assert scores[3] == pytest.approx(0.7 * 0.4 + 0.3 * 0.5)


def test_an_arm_that_found_fewer_gives_nothing_to_what_it_left_out() -> None:
    hits = {"dense": [hit(1, 0.8), hit(2, 0.4)], "lexical": [hit(1, 0.5)]}
    scores = {found.row: found.score for found in fuse(hits, WEIGHTS, 10)}
    assert scores[2] == pytest.approx(0.7 * 0.4)


def test_an_arm_that_did_not_run_takes_no_weight() -> None:
    assert fuse({"lexical": [hit(1, 0.5)]}, WEIGHTS, 1)[0].score == 0.5
    both = fuse({"lexical": [hit(1, 0.5)], "dense": []}, WEIGHTS, 1)
    assert both[0].score == pytest.approx(0.15)


def test_ties_are_ordered_by_row_and_k_cuts() -> None:
    hits = {"dense": [hit(row, 0.5) for row in (9, 3, 7)]}
    assert [candidate.row for candidate in fuse(hits, WEIGHTS, 2)] == [3, 7]


def test_an_arm_without_a_weight_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        fuse({"unheard": []}, WEIGHTS, 1)
