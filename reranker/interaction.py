"""What a task's words find among a skill's, as figures that a small head weighs; pure.

Every word of a task looks for its nearest word of the skill (late interaction; ColBERT, Khattab and
Zaharia 2020), and the words of the skill's name, description and passage look for theirs in the
task. A list adds what the first stage found, and how far each figure is from its best and its mean.
Counting words by how near they are (K-NRM, Xiong et al. 2017), and looking in each part of the
skill by itself, added nothing (docs/decisions/0014).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.types import Candidate

Floats = NDArray[np.float32]

NEAR = (0.5, 0.7)
"""Cosines from which on a word is counted as found; right and wrong skills differ by .13."""

SAID = 0.6
"""The same for a word of the skill that the task holds."""

RAREST = 3  # words of a task

FIGURES = 23  # of a pair

STANDING = 5  # columns of what the first stage says

COLUMNS = 3 * (STANDING + FIGURES) + 1  # of a skill in a list

FARTHEST = 5.0
"""Standard deviations that a column counts at most: rare flags lie dozens from their mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The words of a text: what each means, shape (words, width) and of unit length, and its id."""

    vectors: NDArray[np.float16]
    ids: NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillWords:
    """The words of what is read of a skill: its name, then its description, then its passage."""

    words: Words
    name: int  # how many are the name's
    line: int  # how many are the name's and the description's


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the first stage says of a skill; an arm that did not return it says nothing."""

    fused: float
    dense: float | None  # cosine
    lexical: float | None  # BM25

    @classmethod
    def of(cls, candidate: Candidate) -> Standing:
        """As fusion left it."""
        arms = candidate.arm_scores
        return cls(fused=candidate.score, dense=arms.get("dense"), lexical=arms.get("lexical"))


def figures(task: Words, skill: SkillWords, rarity: Floats) -> list[float]:
    """The FIGURES of one pair, 0 where either has no word; `rarity` is by token id."""
    if not len(task.ids) or not len(skill.words.ids):
        return [0.0] * FIGURES
    cosines = task.vectors.astype(np.float32) @ skill.words.vectors.astype(np.float32).T
    same = task.ids[:, None] == skill.words.ids[None]
    weights = _shares(rarity[task.ids])
    count = len(skill.words.ids)
    parts = (slice(0, skill.name), slice(skill.name, skill.line), slice(skill.line, count))
    lengths = (len(task.ids), skill.name, skill.line)
    return [
        *_asked(cosines, same, weights),
        *(
            figure
            for part in parts
            for figure in _said(cosines[:, part], same[:, part], rarity[skill.words.ids[part]])
        ),
        *(math.log(max(length, 1)) for length in lengths),
    ]


def _shares(weights: Floats) -> Floats:
    return weights / max(float(weights.sum()), 1e-6)


def _asked(cosines: Floats, same: NDArray[np.bool_], weights: Floats) -> list[float]:
    """What the task's words find in the skill."""
    nearest = cosines.max(axis=1)
    quarter = max(1, len(nearest) // 4)
    return [
        float(weights @ nearest),
        float(nearest.mean()),
        *(float(weights @ (nearest > near)) for near in NEAR),
        float(weights @ same.any(axis=1)),
        float(np.sort(nearest)[:quarter].mean()),
        float(nearest[np.argsort(-weights, kind="stable")[:RAREST]].mean()),
        float(weights @ nearest**2),
    ]


def _said(cosines: Floats, same: NDArray[np.bool_], rarity: Floats) -> list[float]:
    """What a part's own words find in the task."""
    if not cosines.shape[1]:
        return [0.0] * 4
    nearest, weights = cosines.max(axis=0), _shares(rarity)
    return [
        float(weights @ nearest),
        float(nearest.min()),
        float(weights @ same.any(axis=0)),
        float(weights @ (nearest > SAID)),
    ]


def listed(pairs: Sequence[Sequence[float]], found: Sequence[Standing]) -> Floats:
    """Shape (skills, columns): each skill's figures, and how they stand in the list."""
    first = [
        [
            each.fused,
            each.dense or 0.0,
            math.log1p(max(each.lexical or 0.0, 0.0)),
            float(each.dense is None),
            float(each.lexical is None),
        ]
        for each in found
    ]
    own = np.concatenate([np.array(first), np.array(pairs)], axis=1)
    fused = np.array([each.fused for each in found])
    before = (fused[None] > fused[:, None]).sum(axis=1)
    alike = (fused[None] == fused[:, None]).sum(axis=1)
    standing = 1 / (1 + before + (alike - 1) / 2)  # of equals the mean place
    return np.concatenate(
        [own, own - own.max(axis=0), own - own.mean(axis=0), standing[:, None]],
        axis=1,
        dtype=np.float32,
    )


def standardised(columns: Floats, mean: Floats, spread: Floats) -> Floats:
    """Standard deviations from the mean, FARTHEST at most."""
    found: Floats = np.clip((columns - mean) / spread, -FARTHEST, FARTHEST)
    return found
