"""What a task's words find among a skill's: figures by hand, and how a list sets them beside."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.types import Candidate
from reranker.interaction import (
    COLUMNS,
    FARTHEST,
    FIGURES,
    Floats,
    SkillWords,
    Standing,
    Words,
    figures,
    listed,
    standardised,
)

NORTH, EAST, BETWEEN = (0.0, 1.0), (1.0, 0.0), (0.6, 0.8)
RARITY: Floats = np.array([1.0, 3.0, 1.0, 1.0, 1.0], dtype=np.float32)


def words(*read: tuple[int, Sequence[float]]) -> Words:
    return Words(
        vectors=np.array([vector for _, vector in read], dtype=np.float16).reshape(-1, 2),
        ids=np.array([token for token, _ in read], dtype=np.int32),
    )


def test_the_figures_of_a_pair_by_hand() -> None:
    task = words((0, NORTH), (1, EAST))  # the second is three times as rare
    skill = SkillWords(words=words((0, NORTH), (2, BETWEEN)), name=1, line=1)
    found = figures(task, skill, RARITY)
    # North finds itself, at 1; east finds what lies between, at .6; they weigh 1/4 and 3/4.
    asked = [0.25 + 0.75 * 0.6, 0.8, 1.0, 0.25, 0.25, 0.6, 0.8, 0.25 + 0.75 * 0.36]
    name = [1.0, 1.0, 1.0, 1.0]
    description = [0.0] * 4
    passage = [0.8, 0.8, 0.0, 1.0]
    lengths = [math.log(2), 0.0, 0.0]
    expected = [*asked, *name, *description, *passage, *lengths]
    assert found == pytest.approx(expected, abs=2e-3) and len(found) == FIGURES


def test_without_words_on_one_side_every_figure_is_zero() -> None:
    some, nothing = words((0, NORTH)), words()
    assert figures(nothing, SkillWords(words=some, name=1, line=1), RARITY) == [0.0] * FIGURES
    assert figures(some, SkillWords(words=nothing, name=0, line=0), RARITY) == [0.0] * FIGURES


def standing(fused: float, dense: float | None = 0.5, lexical: float | None = 1.0) -> Standing:
    return Standing(fused=fused, dense=dense, lexical=lexical)


def test_a_list_sets_each_skill_beside_its_best_and_its_mean() -> None:
    found = listed([[1.0], [3.0]], [standing(0.2, None, 0.0), standing(0.6, 0.5, None)])
    own = np.array([[0.2, 0.0, 0.0, 1.0, 0.0, 1.0], [0.6, 0.5, 0.0, 0.0, 1.0, 3.0]])
    np.testing.assert_allclose(found[:, :6], own, atol=1e-6)
    np.testing.assert_allclose(found[:, 6:12], own - own.max(axis=0), atol=1e-6)
    np.testing.assert_allclose(found[:, 12:18], own - own.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(found[:, 18], [1 / 2, 1], atol=1e-6)
    assert listed([[0.0] * FIGURES], [standing(0.1)]).shape == (1, COLUMNS)


def test_of_equals_each_has_the_mean_place() -> None:
    found = listed([[0.0]] * 4, [standing(fused) for fused in (0.5, 0.9, 0.5, 0.1)])
    np.testing.assert_allclose(found[:, -1], [1 / 2.5, 1, 1 / 2.5, 1 / 4])


def test_no_column_counts_beyond_its_bound() -> None:
    columns = np.array([[1.0, 300.0, -300.0]], dtype=np.float32)
    zero, one = np.zeros(3, dtype=np.float32), np.ones(3, dtype=np.float32)
    assert standardised(columns, zero, one).tolist() == [[1.0, FARTHEST, -FARTHEST]]


def test_a_part_of_a_longer_task_by_hand() -> None:
    """Eight words: the two that find least, and the three rarest, are told apart from the rest."""
    nearest = (0.1, 0.2, 0.3, 0.4, 0.55, 0.65, 0.8, 0.9)
    task = words(*((n % 5, (math.sqrt(1 - c * c), c)) for n, c in enumerate(nearest)))
    rarity = np.array([5.0, 1.0, 1.0, 4.0, 1.0], dtype=np.float32)  # of words 0, 5; and 3
    skill = SkillWords(words=words((9, NORTH), (9, NORTH), (9, NORTH)), name=1, line=2)
    found = figures(task, skill, np.concatenate([rarity, np.ones(5, dtype=np.float32)]))
    assert found[5] == pytest.approx(np.mean(nearest[:2]), abs=2e-3)
    assert found[6] == pytest.approx(np.mean([nearest[0], nearest[5], nearest[3]]), abs=2e-3)
    assert found[8:12] == pytest.approx([0.9, 0.9, 0.0, 1.0], abs=2e-3) == found[12:16]


@given(st.permutations(range(5)))
def test_the_order_of_a_list_changes_nothing_about_its_skills(order: list[int]) -> None:
    generator = np.random.default_rng(1)
    pairs = generator.normal(size=(5, 3)).tolist()
    standings = [standing(value) for value in (0.4, 0.7, 0.4, 0.4, 0.1)]
    whole = listed(pairs, standings)
    shuffled = listed([pairs[n] for n in order], [standings[n] for n in order])
    np.testing.assert_allclose(shuffled, whole[order], atol=1e-5)


def test_a_candidate_stands_as_it_was_fused() -> None:
    candidate = Candidate(row=1, score=0.7, arm_scores={"lexical": 12.0}, passage=None)
    assert Standing.of(candidate) == standing(0.7, None, 12.0)
