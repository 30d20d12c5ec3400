"""The decision's rules."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.routing.decide import (
    DECISION_REASONS,
    NOT_LOADED_REASONS,
    Situation,
    decide,
    load_threshold,
    settle,
)
from core.types import Verdict
from reranker.policy import FALLBACK, SHIPPED, UNCALIBRATED, Scale, load_policy

SCALE = (
    load_policy(SHIPPED)
    .scale(FALLBACK)
    .model_copy(
        update={"calibration": UNCALIBRATED, "false_load": (), "load": 0.55, "consider": 0.35}
    )
)
PROMISES = [
    {"max_false_load": 0.05, "threshold": 0.9},
    {"max_false_load": 0.1, "threshold": 0.8},
    {"max_false_load": 0.5, "threshold": 0.2},
]
CALIBRATED = Scale.model_validate(
    SCALE.model_dump() | {"calibration": "some rows", "false_load": PROMISES}
)
SURE, UNSURE, UNLIKELY = SCALE.load + 0.1, SCALE.consider + 0.01, SCALE.consider - 0.1
ORDER = [Verdict.NONE, Verdict.CONSIDER, Verdict.LOAD]

probabilities = st.lists(st.floats(0, 1), max_size=6).map(lambda p: sorted(p, reverse=True))
scales = st.sampled_from([SCALE, CALIBRATED])


@pytest.mark.parametrize(
    ("given_probabilities", "verdict", "reason"),
    [
        ([SURE, UNLIKELY], Verdict.LOAD, "clear_match"),
        ([SURE, SURE], Verdict.LOAD, "several_match"),
        ([UNSURE, UNLIKELY], Verdict.CONSIDER, "near_miss"),
        ([UNLIKELY], Verdict.NONE, "nothing_near"),
        ([], Verdict.NONE, "nothing_near"),
    ],
)
def test_the_best_probability_decides(
    given_probabilities: list[float], verdict: Verdict, reason: str
) -> None:
    decision = decide(given_probabilities, SCALE)
    assert (decision.verdict, decision.reason) == (verdict, reason)


def test_a_name_gives_the_reason_but_does_not_force_the_decision() -> None:
    assert decide([SURE], SCALE, Situation(named=True)).reason == "exact_name"
    assert decide([UNLIKELY], SCALE, Situation(named=True)).verdict is Verdict.NONE


@pytest.mark.parametrize("reason", ["over_budget", "already_loaded"])
def test_to_load_nothing_is_none_with_the_reason_of_the_best(reason: str) -> None:
    settled = settle(decide([SURE], SCALE), 0, [reason, "not_useful_enough"])
    assert (settled.verdict, settled.reason) == (Verdict.NONE, reason)


def test_what_can_be_offered_is_left_as_decided() -> None:
    decision = decide([SURE], SCALE)
    assert settle(decision, 1, ["over_budget"]) is decision


def test_filters_that_hide_everything_are_said_to() -> None:
    assert decide([], SCALE, Situation(visible=False)).reason == "nothing_visible"


def test_a_task_without_words_is_said_to_have_none() -> None:
    assert decide([SURE], SCALE, Situation(searchable=False)).reason == "no_words"


@pytest.mark.parametrize(
    ("tolerated", "threshold"), [(0.05, 0.9), (0.07, 0.9), (0.1, 0.8), (0.49, 0.8)]
)
def test_a_tolerance_takes_the_laxest_promise_within_it(tolerated: float, threshold: float) -> None:
    assert load_threshold(CALIBRATED, tolerated) == threshold


def test_a_promise_never_lowers_the_bar() -> None:
    assert load_threshold(CALIBRATED, 1.0) == load_threshold(CALIBRATED, None) == SCALE.load


def test_what_cannot_be_promised_loads_nothing() -> None:
    assert decide([1.0], CALIBRATED, max_false_load=0.01).verdict is Verdict.CONSIDER


def test_without_calibration_the_probability_is_taken_at_its_word() -> None:
    assert load_threshold(SCALE, 0.1) == 0.9


@given(probabilities, scales, st.floats(0.001, 1), st.floats(0.001, 1))
def test_tolerating_more_false_loads_never_loads_less(
    given_probabilities: list[float], scale: Scale, one: float, other: float
) -> None:
    strict, lax = sorted((one, other))
    verdicts = [
        decide(given_probabilities, scale, max_false_load=tolerance).verdict
        for tolerance in (strict, lax)
    ]
    assert ORDER.index(verdicts[0]) <= ORDER.index(verdicts[1])


situations = st.builds(
    Situation,
    named=st.booleans(),
    visible=st.booleans(),
    searchable=st.booleans(),
    needless=st.booleans(),
    near=st.booleans(),
)


@given(probabilities, situations)
def test_every_reason_given_is_a_known_one(
    given_probabilities: list[float], situation: Situation
) -> None:
    assert decide(given_probabilities, SCALE, situation).reason in DECISION_REASONS


@pytest.mark.parametrize(
    ("situation", "reason"),
    [
        (Situation(), "nothing_near"),
        (Situation(near=True), "near_miss_only"),
        (Situation(needless=True, near=True), "answerable_without"),
    ],
)
def test_none_says_what_kind_of_none_it_is(situation: Situation, reason: str) -> None:
    assert decide([UNLIKELY], SCALE, situation).reason == reason


@given(probabilities, situations)
def test_what_kind_of_none_it_would_be_changes_no_verdict(
    given_probabilities: list[float], situation: Situation
) -> None:
    plain = replace(situation, needless=False, near=False)
    one, other = (decide(given_probabilities, SCALE, each) for each in (situation, plain))
    assert one.verdict is other.verdict


def test_every_reason_code_is_documented() -> None:
    documented = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    for code in (*DECISION_REASONS, *NOT_LOADED_REASONS):
        assert f"`{code}`" in documented, code
