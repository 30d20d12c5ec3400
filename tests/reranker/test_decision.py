"""Features and probability of the decision."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from reranker.decision import (
    FEATURES,
    Evidence,
    Features,
    ScaleWeights,
    SkillEvidence,
    coverage,
    dense_lift,
    dense_margin,
    falling,
    features,
    lexical_margin,
    probabilities,
    probability,
)

WEIGHTS = ScaleWeights(bias=-2, weights={"dense_lift": 0.5, "coverage": 3})
unit = st.floats(0, 1)


def found(lift: float, covered: float) -> Features:
    return {"dense_lift": lift, "coverage": covered}


def test_the_same_similarity_says_less_where_small_talk_scores_high() -> None:
    quiet = np.array([0.1, 0.2, 0.15], dtype=np.float32)
    loud = np.array([0.4, 0.5, 0.45], dtype=np.float32)
    assert dense_lift(0.5, quiet) > dense_lift(0.5, loud)


def test_without_a_background_there_is_no_lift() -> None:
    assert dense_lift(0.9, np.array([], dtype=np.float32)) == 0


def test_an_even_background_does_not_make_every_similarity_enormous() -> None:
    assert dense_lift(0.3, np.full(8, 0.2, dtype=np.float32)) < 4


def test_a_rare_word_covers_more_than_a_common_one() -> None:
    idf = {"kubernetes": 6.0, "use": 1.0}
    assert coverage(idf, {"kubernetes"}) > coverage(idf, {"use"})
    assert coverage(idf, {"kubernetes", "use"}) == 1


def test_a_task_without_words_is_not_covered() -> None:
    assert coverage({}, {"anything"}) == 0


@given(st.floats(-20, 20), st.floats(0, 5), unit, unit)
def test_more_evidence_never_lowers_the_probability(
    lift: float, more: float, covered: float, further: float
) -> None:
    before = probability(found(lift, covered), WEIGHTS)
    after = probability(found(lift + more, max(covered, further)), WEIGHTS)
    assert 0 <= before <= after <= 1


def test_every_feature_is_found_of_every_ranked_skill() -> None:
    known = Evidence(
        skills=[
            SkillEvidence(similarity=0.5, lexical=9, words={"pdf"}, excluded=set(), rerank=2.5),
            SkillEvidence(similarity=0.2, lexical=0, words=set(), excluded={"fill"}, rerank=-4.0),
        ],
        similarities=[0.5, 0.2],
        lexical=[9.0],
        background=np.array([0.1, 0.2], dtype=np.float32),
        idf={"pdf": 3.0, "fill": 1.0},
        need=1.5,
    )
    first, second = features(known)
    assert first.keys() == second.keys() == FEATURES.keys()
    assert first["coverage"] == 0.75
    assert first["need"] == second["need"] == 1.5
    assert all(
        feature.sign * first[name] > feature.sign * second[name]
        for name, feature in FEATURES.items()
        if name != "need"
    )
    assert second["excluded"] == 0.25
    # One next hit, and four that are missing count as the background's mean.
    assert first["dense_margin"] == pytest.approx(0.5 - (0.2 + 4 * 0.15) / 5)


NOTHING = np.array([0.1], dtype=np.float32)


def test_a_skill_stands_out_less_where_all_are_near() -> None:
    assert dense_margin(0.6, [0.6, 0.2, 0.1], NOTHING) > dense_margin(0.6, [0.6, 0.5, 0.5], NOTHING)
    assert lexical_margin(9, [9, 1, 1]) > lexical_margin(9, [9, 8, 8])


def test_the_only_skill_is_held_against_what_it_would_answer_to_anything() -> None:
    assert dense_margin(0.4, [0.4], NOTHING) == pytest.approx(0.3)
    assert dense_margin(0.1, [0.1], NOTHING) == pytest.approx(0, abs=1e-6)


def test_a_feature_without_a_weight_counts_nothing() -> None:
    scale = ScaleWeights(bias=0, weights={"coverage": 1})
    assert probability(found(9, 0), scale) == 0.5


@pytest.mark.parametrize("weights", [{"coverage": -1}, {"excluded": 1}, {"covrage": 1}])
def test_a_weight_against_its_sign_or_without_a_feature_is_refused(
    weights: dict[str, float],
) -> None:
    with pytest.raises(ValidationError, match=next(iter(weights))):
        ScaleWeights(bias=0, weights=weights)


@given(st.lists(unit))
def test_probabilities_fall_with_the_rank_and_the_first_stays(given_ones: list[float]) -> None:
    fallen = falling(given_ones)
    assert fallen == sorted(fallen, reverse=True)
    assert all(after <= before for after, before in zip(fallen, given_ones, strict=True))
    assert fallen[:1] == given_ones[:1]


@given(st.lists(st.tuples(st.floats(-5, 20), unit), min_size=1, max_size=8), st.integers(1, 8))
def test_the_confidence_does_not_depend_on_how_many_skills_were_asked_for(
    ranked: list[tuple[float, float]], k: int
) -> None:
    answer = [found(lift, covered) for lift, covered in ranked]
    assert probabilities(answer[:k], WEIGHTS)[0] == probabilities(answer, WEIGHTS)[0]
