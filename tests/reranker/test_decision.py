"""Features and probability of the decision."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from reranker.decision import DecisionFeatures, coverage, dense_lift, falling, probability
from reranker.policy import ScaleWeights

WEIGHTS = ScaleWeights(bias=-2, dense_lift=0.5, coverage=3, agreement=1)
unit = st.floats(0, 1)


def features(lift: float, covered: float, agreed: float = 0) -> DecisionFeatures:
    return DecisionFeatures(dense_lift=lift, coverage=covered, agreement=agreed)


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
    before = probability(features(lift, covered), WEIGHTS)
    after = probability(features(lift + more, max(covered, further), 1), WEIGHTS)
    assert 0 <= before <= after <= 1


@given(st.lists(unit))
def test_probabilities_fall_with_the_rank_and_the_best_stays(probabilities: list[float]) -> None:
    fallen = falling(probabilities)
    assert fallen == sorted(fallen, reverse=True)
    assert all(after >= before for after, before in zip(fallen, probabilities, strict=True))
    assert max(fallen, default=0) == max(probabilities, default=0)
