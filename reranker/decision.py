"""Features and probability of the decision; pure.

P(a skill here helps) = sigmoid(bias + w . features). The features are taken relative to the
catalogue's background, so that a large catalogue does not look surer than a small one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from reranker.policy import ScaleWeights

# A catalogue of two skills answers every background query alike; its spread must not reach 0.
SMALLEST_SPREAD = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionFeatures:
    """What is known of one skill as an answer to one task."""

    dense_lift: float  # (similarity - mean background top) / spread of the background tops
    coverage: float  # idf-weighted share of the task's words that the skill holds, [0, 1]
    agreement: float  # 1 where both arms returned the skill among their first few, else 0


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


def probability(features: DecisionFeatures, weights: ScaleWeights) -> float:
    """The logistic of the weighted features."""
    logit = (
        weights.bias
        + weights.dense_lift * features.dense_lift
        + weights.coverage * features.coverage
        + weights.agreement * features.agreement
    )
    return 1 / (1 + math.exp(-max(-50.0, min(50.0, logit))))


def falling(probabilities: Sequence[float]) -> list[float]:
    """The same in rank order, each raised to the highest that follows it.

    The ranking has seen more than the features: a skill is at least as useful as those below it.
    """
    return list(accumulate(reversed(probabilities), max))[::-1]
