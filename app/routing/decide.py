"""Verdict and reason codes from the probabilities; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from core.types import Decision, Verdict
from reranker.policy import UNCALIBRATED, Scale

# Every reason code that an answer may carry, and what it means. Documented in docs/api.md.
DECISION_REASONS = {
    "clear_match": "one skill clearly fits",
    "several_match": "several skills fit about equally well",
    "exact_name": "the task calls a skill by its name, and it fits",
    "near_miss": "a skill may help, but not clearly",
    "nothing_near": "no skill here comes near the task",
    "nothing_visible": "the filters leave no skill to choose from",
    "no_words": "the task holds nothing that could be searched for",
    "already_loaded": "every skill that fits is one that the agent has",
    "over_budget": "no skill that fits is within the token budget",
}

NOT_LOADED_REASONS = {
    "decision_none": "the decision is none: nothing is offered",
    "not_useful_enough": "its own probability lies below the threshold",
    "over_budget": "the token budget is spent on better skills",
    "already_loaded": "the agent says that it has this skill",
}

# Two skills whose probabilities differ by less than this cannot be told apart.
SAME = 0.02


def decide(
    probabilities: Sequence[float],
    scale: Scale,
    *,
    named: bool = False,
    visible: bool = True,
    searchable: bool = True,
    max_false_load: float | None = None,
) -> Decision:
    """The verdict for skills in rank order, with their falling probabilities of helping.

    `max_false_load` only ever raises the bar for `load`, to what the scale's table promises;
    where it promises nothing so strict, nothing is loaded. Without a calibrated scale it is no
    promise, and the answer's `calibration` says so.
    """
    confidence = _first(probabilities)
    verdict, reason = _judge(probabilities, scale, named, max_false_load)
    if not visible:
        verdict, reason = Verdict.NONE, "nothing_visible"
    elif not searchable:
        verdict, reason = Verdict.NONE, "no_words"
    return Decision(
        verdict=verdict, reason=reason, confidence=confidence, calibration=scale.calibration
    )


def settle(decision: Decision, offered: int, reasons: Sequence[str]) -> Decision:
    """The decision once it is known what can be offered: to load nothing is `none`.

    `reasons` are those of the near misses, in rank order; the first one that is also a reason of
    a decision says why nothing is left.
    """
    if offered or decision.verdict is Verdict.NONE:
        return decision
    reason = next(each for each in reasons if each in DECISION_REASONS)
    return replace(decision, verdict=Verdict.NONE, reason=reason)


def load_threshold(scale: Scale, max_false_load: float | None) -> float:
    """The probability from which a skill is loaded; never lower for a smaller tolerance.

    Infinite where the scale's table holds no promise as strict as `max_false_load`.
    """
    if max_false_load is None:
        return scale.load
    if scale.calibration == UNCALIBRATED:
        return max(scale.load, 1 - max_false_load)
    kept = [line.threshold for line in scale.false_load if line.max_false_load <= max_false_load]
    return max(scale.load, min(kept, default=math.inf))


def _judge(
    probabilities: Sequence[float], scale: Scale, named: bool, max_false_load: float | None
) -> tuple[Verdict, str]:
    best = _first(probabilities)
    if best < scale.consider:
        return Verdict.NONE, "nothing_near"
    if best < load_threshold(scale, max_false_load):
        return Verdict.CONSIDER, "near_miss"
    if named:
        return Verdict.LOAD, "exact_name"
    equals = sum(best - p < SAME for p in probabilities)
    return Verdict.LOAD, "several_match" if equals > 1 else "clear_match"


def _first(probabilities: Sequence[float]) -> float:
    return probabilities[0] if probabilities else 0.0
