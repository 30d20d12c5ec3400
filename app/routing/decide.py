"""Verdict and reason codes from the probabilities; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from core.types import Decision, Verdict
from reranker.policy import UNCALIBRATED, Scale

# Every reason code that an answer may carry, and what it means. Documented in docs/api.md.
DECISION_REASONS = {
    "clear_match": "one skill clearly fits",
    "several_match": "several skills fit about equally well",
    "exact_name": "the task calls a skill by its name, and it fits",
    "near_miss": "a skill may help, but not clearly",
    "near_miss_only": "skills here are about the subject, but none seems to do the job",
    "nothing_near": "no skill here comes near the task",
    "answerable_without": "no skill is called for: talk, a question that a model answers by "
    "itself, or an errand that no folder of instructions could do",
    "nothing_visible": "there is no skill to choose from",
    "filtered_out": "a skill fits, but the filters on trust, licence, language or tags hide it",
    "no_words": "the task holds nothing that could be searched for",
    "already_loaded": "every skill that fits is one that the agent has",
    "over_budget": "no skill that fits is within the token budget",
    "needs_tool": "every skill that fits needs an MCP server that is not at hand",
}

NOT_LOADED_REASONS = {
    "decision_none": "the decision is none: nothing is offered",
    "not_useful_enough": "its own probability lies below the threshold",
    "over_budget": "the token budget is spent on what serves more of the task",
    "already_loaded": "the agent says that it has this skill",
    "needs_tool": "it needs an MCP server that is not among `context.tools`",
    "adds_nothing": "what the task needs of it, the skills before it serve already",
}

# Two skills whose probabilities differ by less than this cannot be told apart.
SAME = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What is known of the task and the skills beside their probabilities."""

    named: bool = False  # the task calls the first skill by its name
    visible: bool = True  # there is a skill to choose from
    searchable: bool = True  # the task holds a word
    needless: bool = False  # it looks like what needs no skill at all
    near: bool = False  # a skill is more like it than any is like a background query


PLAIN = Situation()


def decide(
    probabilities: Sequence[float],
    scale: Scale,
    situation: Situation = PLAIN,
    *,
    max_false_load: float | None = None,
) -> Decision:
    """The verdict for skills in rank order, with their falling probabilities of helping.

    `max_false_load` only ever raises the bar for `load`, to what the scale's table promises;
    where it promises nothing so strict, nothing is loaded. Without a calibrated scale it is no
    promise, and the answer's `calibration` says so.
    """
    confidence = _first(probabilities)
    verdict, reason = _judge(probabilities, scale, situation, max_false_load)
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
    probabilities: Sequence[float],
    scale: Scale,
    situation: Situation,
    max_false_load: float | None,
) -> tuple[Verdict, str]:
    best = _first(probabilities)
    if not situation.visible:
        return Verdict.NONE, "nothing_visible"
    if not situation.searchable:
        return Verdict.NONE, "no_words"
    if best < scale.consider:
        return Verdict.NONE, _why_none(situation)
    if best < load_threshold(scale, max_false_load):
        return Verdict.CONSIDER, "near_miss"
    if situation.named:
        return Verdict.LOAD, "exact_name"
    equals = sum(best - p < SAME for p in probabilities)
    return Verdict.LOAD, "several_match" if equals > 1 else "clear_match"


def _why_none(situation: Situation) -> str:
    if situation.needless:
        return "answerable_without"
    return "near_miss_only" if situation.near else "nothing_near"


def _first(probabilities: Sequence[float]) -> float:
    return probabilities[0] if probabilities else 0.0
