"""Needs of a task, and which skills serve them together; pure.

A long task asks for several things, each in sentences of its own. What a skill does for one of them
shows in the share of its words that the skill holds: no model reads anything for it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from core.retrieval.lexical import analyse
from core.types import Scored, SkillVersion
from reranker.decision import coverage
from reranker.overlap import word_weights
from reranker.pairs import Document

MOST_NEEDS = 16
FEWEST_WORDS = 2  # a sentence that says less belongs to the one before it

# Chosen on train and calibration tasks, like the weights below (docs/decisions/0018).
GAIN_WEIGHT = 1.0
"""Of the share of the task's needs that a skill adds, beside its score, in the order."""

ADDED_BIAS, ADDED_BY_P, ADDED_BY_GAIN, ADDED_BY_LENGTH = -4.499, 0.940, 5.649, 0.625

ADDED_FROM = 0.25
"""Probability of adding something from which a skill joins the set."""

MOST_SKILLS = 8  # of a set: what fits a budget is tried out over all its parts

SAID_CHARS = 160  # of a need, where an answer names it

_SENTENCE_END = re.compile(
    r"(?<=[.!?:;])\s+|(?<=[。！？；：])|\n+|,?\s(?:and\s)?then\s", re.IGNORECASE
)

Shares = NDArray[np.float64]
"""By need, the share of its words' idf that a skill holds, shape (needs,)."""


@dataclass(frozen=True)
class Needs:
    """What a task asks for, sentence by sentence."""

    texts: tuple[str, ...]
    idf: Mapping[str, float]  # of the task's words

    @classmethod
    def of(cls, task: str, idf: Mapping[str, float]) -> Needs:
        """The task's sentences, short ones joined to those before; MOST_NEEDS at most."""
        ends = [found.end() for found in _SENTENCE_END.finditer(task)]
        spans: list[tuple[int, int]] = []
        for start, end in pairwise([0, *ends, len(task)]):
            if spans and len(set(analyse(task[start:end]))) < FEWEST_WORDS:
                spans[-1] = (spans[-1][0], end)
            else:
                spans.append((start, end))
        texts = [task[start:end].strip(" \t\n-*•") for start, end in spans]
        return cls(tuple(text for text in texts if text)[:MOST_NEEDS], idf)

    @property
    def chars(self) -> int:
        """How long they are together."""
        return sum(map(len, self.texts))

    @cached_property
    def _idf_by_need(self) -> list[dict[str, float]]:
        return [
            {word: self.idf[word] for word in set(analyse(text)) if word in self.idf}
            for text in self.texts
        ]

    def held(self, words: Set[str]) -> Shares:
        """What somebody who holds these words does for each need."""
        return np.array([coverage(idf, words) for idf in self._idf_by_need])

    def held_by(self, scored: Scored) -> Shares:
        """What a skill does for each need."""
        return self.held(word_weights(document(scored.version)).keys())


def document(version: SkillVersion) -> Document:
    """What a reranker may read of a version."""
    return Document(name=version.name, description=version.description, body=version.body)


def by_needs(ranked: Sequence[Scored], needs: Needs) -> list[Scored]:
    """Reordered so that what serves needs not served yet comes earlier; the first stays.

    Greedy maximisation of score and coverage (maximal marginal relevance, Carbonell and Goldstein
    1998, with what is gained in place of what is repeated). Skills that the task calls by name keep
    their places in front, and a task of one need its whole order.
    """
    fixed = max(1, sum(scored.exact_name for scored in ranked))
    if len(needs.texts) < 2 or len(ranked) <= fixed + 1:
        return list(ranked)
    shares = [needs.held_by(scored) for scored in ranked]
    # What the reranker was not asked about follows, whatever its score is worth.
    scores = np.minimum.accumulate([scored.score for scored in ranked])
    served = np.maximum.reduce(shares[:fixed])
    order, left = list(range(fixed)), list(range(fixed, len(ranked)))
    while left:
        worth = [scores[n] + GAIN_WEIGHT * gain(shares[n], served) for n in left]
        order.append(left.pop(int(np.argmax(worth))))
        served = np.maximum(served, shares[order[-1]])
    return [ranked[n] for n in order]


def gain(shares: Shares, served: Shares) -> float:
    """By how much a skill raises what is done for the needs, in the mean of them."""
    return float(np.maximum(shares - served, 0).mean()) if len(shares) else 0.0


def added(p_alone: float, gained: float, chars: int) -> float:
    """P(a skill serves a need that those before it do not), for a task of so many characters.

    `p_alone` is its probability by itself. A logistic, fitted on tasks of one to four needs.
    """
    p = min(max(p_alone, 1e-4), 1 - 1e-4)
    logit = ADDED_BIAS + ADDED_BY_P * math.log(p / (1 - p))
    logit += ADDED_BY_GAIN * gained + ADDED_BY_LENGTH * math.log(max(chars, 1))
    return 1 / (1 + math.exp(-logit))


def in_company(alone: Sequence[float], shares: Sequence[Shares], chars: int) -> list[float]:
    """P(useful) of skills in order, each beside all that come before it; falling.

    The first has its own; a later one is worth what it adds.
    """
    found: list[float] = []
    served = np.zeros(len(shares[0]) if shares else 0)
    for p_alone, held in zip(alone, shares, strict=True):
        worth = added(p_alone, gain(held, served), chars) if found else p_alone
        found.append(min(worth, found[-1]) if found else worth)
        served = np.maximum(served, held)
    return found


def affordable(shares: Sequence[Shares], costs: Sequence[int], budget: int | None) -> set[int]:
    """The part of a set that costs at most `budget` and does most for the needs.

    Its first skill, which the decision rests on, is always of it, or there is none. Of equals the
    cheapest, then the first. So more budget never covers less.
    """
    everyone = range(len(costs))
    if budget is None or sum(costs) <= budget:
        return set(everyone)
    parts: list[tuple[int, ...]] = [
        (0, *others)
        for size in range(len(costs))
        for others in combinations(everyone[1:], size)
        if costs[0] + sum(costs[n] for n in others) <= budget
    ]

    if not parts:
        return set()

    def worth(part: tuple[int, ...]) -> tuple[float, int, list[int]]:
        return done(shares, part), -sum(costs[n] for n in part), [-n for n in part]

    best: tuple[int, ...] = max(parts, key=worth)
    return set(best)


def done(shares: Sequence[Shares], part: Iterable[int]) -> float:
    """How much these skills do for the needs together, in the mean of them."""
    held = [shares[n] for n in part]
    return float(np.maximum.reduce(held).mean()) if held and len(held[0]) else 0.0


def serving(shares: Sequence[Shares], texts: Sequence[str]) -> list[list[str]]:
    """By skill, the needs that it does most for among these; each its best one at least."""
    if not shares:
        return []
    held = np.array(shares)
    best = held.argmax(axis=0)
    return [
        [
            texts[need][:SAID_CHARS]
            for need in range(len(texts))
            if (best[need] == n and held[n, need] > 0) or need == held[n].argmax()
        ]
        for n in range(len(held))
    ]
