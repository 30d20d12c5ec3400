"""Features and probability of the decision; pure.

P(a skill here helps) = sigmoid(bias + w . features). The features are taken relative to the
catalogue's background, so that a large catalogue does not look surer than a small one. A new
feature is one entry of `FEATURES`: routes report it, observations hold it, a policy may weigh it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import accumulate
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, model_validator

# A catalogue of two skills answers every background query alike; its spread must not reach 0.
SMALLEST_SPREAD = 0.03

# Hits that the first skill is held against: with fewer, useful tasks were told apart less well on
# train and calibration rows (docs/decisions/0011).
NEXT_HITS = 29

# A catalogue of three skills has no next hits to speak of: missing ones count as what it would
# answer to anything.
FEWEST_NEXT = 5

Features = Mapping[str, float]
"""The value of every feature of `FEATURES`, of one skill as an answer to one task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillEvidence:
    """What the stages before found out about one ranked skill."""

    similarity: float  # cosine of its best passage; at most the last hit's where no hit itself
    lexical: float  # its BM25 score; 0 where the arm did not return it
    words: Set[str]  # analysed words that it holds
    excluded: Set[str]  # words of its description that only say what it is not for
    rerank: float  # the second stage's score; of one that it was not asked about, its lowest


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known when an answer is judged."""

    skills: Sequence[SkillEvidence]  # in rank order
    similarities: Sequence[float]  # of the dense arm's hits without twins, best first
    lexical: Sequence[float]  # scores of the lexical arm's hits without twins, best first
    background: NDArray[np.float32]  # best similarity to each background query, shape (queries,)
    idf: Mapping[str, float]  # of every distinct analysed word of the task
    need: float  # logit that the task needs any skill; 0 where nothing can tell


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One number about the skill at a place of the ranking."""

    of: Callable[[Evidence, int], float]
    sign: Literal[-1, 1] = 1  # of its weight: more of it never speaks for the other side


def dense_lift(similarity: float, background: NDArray[np.float32]) -> float:
    """How far a cosine stands above the tops of the background queries, in their spreads.

    `background` has shape (queries,); without one (an empty catalogue) there is no lift.
    """
    if background.size == 0:
        return 0.0
    spread = max(float(background.std()), SMALLEST_SPREAD)
    return (similarity - float(background.mean())) / spread


def coverage(idf: Mapping[str, float], words: Set[str]) -> float:
    """The share of the task's idf mass that `words` hold; 0 for a task without words."""
    total = sum(idf.values())
    return sum(weight for word, weight in idf.items() if word in words) / total if total else 0.0


def dense_margin(
    similarity: float, similarities: Sequence[float], background: NDArray[np.float32]
) -> float:
    """How far a cosine stands above the mean of the arm's next hits.

    A task about the catalogue's subject is similar to all of it; the right skill stands out. The
    idea is query performance prediction's (Zhou and Croft 2007; Shtok et al. 2012).
    """
    least = float(background.mean()) if background.size else 0.0
    return similarity - _mean_of_next(similarities, least)


def lexical_margin(score: float, scores: Sequence[float]) -> float:
    """The logarithm of how many times the mean of the arm's next hits a BM25 score is.

    A ratio, since BM25 grows with the task's words; 1 is added to both, so that none is 0.
    """
    return math.log((score + 1) / (_mean_of_next(scores, 0.0) + 1))


def _mean_of_next(scores: Sequence[float], least: float) -> float:
    after = list(scores[1 : 1 + NEXT_HITS])
    after += [least] * (FEWEST_NEXT - len(after))
    return sum(after) / len(after)


def _dense_lift(known: Evidence, place: int) -> float:
    return dense_lift(known.skills[place].similarity, known.background)


def _coverage(known: Evidence, place: int) -> float:
    return coverage(known.idf, known.skills[place].words)


def _dense_margin(known: Evidence, place: int) -> float:
    return dense_margin(known.skills[place].similarity, known.similarities, known.background)


def _lexical_margin(known: Evidence, place: int) -> float:
    return lexical_margin(known.skills[place].lexical, known.lexical)


def _rerank(known: Evidence, place: int) -> float:
    return known.skills[place].rerank


def _need(known: Evidence, place: int) -> float:
    return known.need


def _excluded(known: Evidence, place: int) -> float:
    return coverage(known.idf, known.skills[place].excluded)


FEATURES: Mapping[str, Feature] = MappingProxyType(
    {
        "dense_lift": Feature(of=_dense_lift),
        "coverage": Feature(of=_coverage),  # [0, 1]
        "dense_margin": Feature(of=_dense_margin),
        "lexical_margin": Feature(of=_lexical_margin),
        "rerank": Feature(of=_rerank),  # on the scale of whoever scored
        "need": Feature(of=_need),  # logit
        "excluded": Feature(of=_excluded, sign=-1),  # [0, 1]
    }
)


def features(known: Evidence) -> list[Features]:
    """Every feature of every ranked skill, in rank order."""
    return [
        {name: feature.of(known, place) for name, feature in FEATURES.items()}
        for place in range(len(known.skills))
    ]


class ScaleWeights(BaseModel):
    """A logistic model over the decision features, for answers scored by one reranker."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bias: float
    weights: dict[str, float]  # by feature; one that is not named counts nothing

    @model_validator(mode="after")
    def _known_and_of_their_sign(self) -> ScaleWeights:
        for name, weight in self.weights.items():
            if name not in FEATURES:
                raise ValueError(f"{name!r} is no feature; there are {', '.join(FEATURES)}")
            if FEATURES[name].sign * weight < 0:
                wrong = "negative" if weight < 0 else "positive"
                raise ValueError(f"the weight of {name!r} must not be {wrong}")
        return self


def probability(found: Features, scale: ScaleWeights) -> float:
    """The logistic of the weighted features."""
    logit = scale.bias + sum(weight * found[name] for name, weight in scale.weights.items())
    return 1 / (1 + math.exp(-max(-50.0, min(50.0, logit))))


def falling(probabilities: Sequence[float]) -> list[float]:
    """The same in rank order, each lowered to the lowest before it.

    The ranking has seen more than the features: a skill is at most as useful as those above it.
    """
    return list(accumulate(probabilities, min))


def probabilities(ranked: Sequence[Features], scale: ScaleWeights) -> list[float]:
    """What is decided by: P(useful) of each skill by itself, falling; the first is the confidence.

    So the confidence does not depend on how many skills were asked for, and what a policy is
    fitted on, the first skill's features, is what is judged.
    """
    return falling([probability(found, scale) for found in ranked])
