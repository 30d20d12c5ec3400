"""The head's training: its loss by hand, what a list teaches, and that it learns."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from reranker.interaction import Floats, Standing, listed
from reranker.learn.train_reranker import (
    FIRST,
    FiguredList,
    Recipe,
    figured,
    order_loss,
    rarity,
    train,
)

WORDS: Floats = np.ones(4, dtype=np.float32)
trained = partial(train, centre=WORDS, rarity=WORDS)


def test_an_order_is_as_likely_as_each_of_its_draws() -> None:
    """Right, none, wrong, worse: the draws weigh 1, 1/2, 1/3 and, sure by then, 1/4."""
    logits = torch.tensor([[2.0, 1.0, -1.0]])
    found = order_loss(logits, torch.ones(1, 3, dtype=torch.bool), torch.tensor([1])).item()
    draws = [
        math.log(math.exp(2) + 1 + math.exp(1) + math.exp(-1)) - 2,
        math.log(1 + math.exp(1) + math.exp(-1)),
        math.log(math.exp(1) + math.exp(-1)) - 1,
        0.0,
    ]
    weights = [1, 1 / 2, 1 / 3, 1 / 4]
    expected = sum(w * d for w, d in zip(weights, draws, strict=True)) / sum(weights)
    assert found == pytest.approx(expected, abs=1e-5)


def test_a_shorter_list_loses_nothing_by_its_padding() -> None:
    present = torch.tensor([[True, True, False, False]])
    padded = order_loss(torch.tensor([[1.0, -2.0, 9.0, 9.0]]), present, torch.tensor([1]))
    alone = order_loss(torch.tensor([[1.0, -2.0]]), present[:, :2], torch.tensor([1]))
    assert padded.item() == pytest.approx(alone.item(), abs=1e-5)


def test_none_comes_first_where_nothing_serves() -> None:
    present, none = torch.ones(1, 2, dtype=torch.bool), torch.tensor([0])
    assert order_loss(torch.tensor([[-9.0, -20.0]]), present, none).item() < 0.01
    assert order_loss(torch.tensor([[9.0, -20.0]]), present, none).item() > 3


def test_rarity_is_the_logarithm_of_how_few_texts_hold_a_token() -> None:
    found = rarity([[0, 0, 1], [0], [0, 2]], 4)
    expected = [math.log(1 + 3.5 / (held + 0.5)) for held in (3, 1, 1, 0)]
    assert found.tolist() == pytest.approx(expected)


def standings(*fused: float) -> list[Standing]:
    return [Standing(fused=each, dense=None, lexical=None) for each in fused]


def test_a_list_is_learned_whole_and_as_its_first_part() -> None:
    fused = (0.1, 0.9, 0.8, 0.7, 0.6, 0.2)
    pairs = [[float(n)] for n in range(6)]
    whole, first = figured(range(6), pairs, standings(*fused), 2)
    np.testing.assert_array_equal(whole.columns, listed(pairs, standings(*fused)))
    assert (whole.right, first.right) == (2, 1)  # the best is not among those fused first
    np.testing.assert_array_equal(first.columns, listed(pairs[1:5], standings(*fused[1:5])))
    assert len(figured(range(FIRST), pairs[:FIRST], standings(*fused[:FIRST]), 2)) == 1


def test_what_was_fused_alike_is_cut_by_row_and_not_by_what_the_readers_said() -> None:
    pairs = [[float(n)] for n in range(6)]
    _, first = figured([9, 8, 7, 6, 5, 4], pairs, standings(*[0.5] * 6), 2)
    assert first.right == 0 and first.columns[:, 5].tolist() == [2.0, 3.0, 4.0, 5.0]


def test_a_column_that_never_differs_says_nothing(lists: list[FiguredList]) -> None:
    head = trained(lists, replace(RECIPE, epochs=1))
    columns = lists[0].columns.copy()
    columns[:, 3] += 1  # whether the dense arm returned a skill: none of them here
    assert head.spread[3] == 1.0
    assert np.abs(head.logits(columns) - head.logits(lists[0].columns)).max() < 5


@pytest.fixture(scope="module")
def lists() -> list[FiguredList]:
    """The second figure decides; a tenth of the lists serve nothing, and say so by the first."""
    generator = np.random.default_rng(1)
    found = []
    for number in range(300):
        figures = -np.sort(-generator.normal(size=6))
        serves = number % 10 != 0
        pairs = [[float(serves), value] for value in figures]
        found += figured(range(6), pairs, standings(0.5, *generator.random(5)), int(serves))
    return found


RECIPE = Recipe(epochs=12, lists=16, hidden=8, heads=2)


def test_a_head_learns_the_order_and_when_nothing_serves(lists: list[FiguredList]) -> None:
    head = trained(lists[:500], RECIPE)
    held_out = [each for each in lists[500:] if len(each.columns) > FIRST]
    logits = [head.logits(each.columns) for each in held_out]
    right = [int(np.argmax(found)) == 0 for found in logits]
    assert np.mean(right) > 0.9
    believed = [found.max() > 0 for found in logits]
    serves = [each.right > 0 for each in held_out]
    assert np.mean(np.equal(believed, serves)) > 0.9


def test_heads_side_by_side_are_their_mean(lists: list[FiguredList]) -> None:
    both = trained(lists, RECIPE)
    apart = [trained(lists, replace(RECIPE, heads=1, seed=seed)) for seed in (1, 2)]
    columns = lists[0].columns
    mean = np.mean([head.logits(columns) for head in apart], axis=0)
    np.testing.assert_allclose(both.logits(columns), mean, atol=1e-4)
    assert both.inner.shape == (columns.shape[1], 16)


def test_the_same_seed_trains_the_same_head(lists: list[FiguredList]) -> None:
    recipe = replace(RECIPE, epochs=1)
    first, again = (trained(lists, recipe) for _ in range(2))
    np.testing.assert_array_equal(first.inner, again.inner)
    assert not np.array_equal(first.inner, trained(lists, replace(recipe, seed=5)).inner)
