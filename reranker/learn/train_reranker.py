"""Train the reranker's head on judged lists; what the words mean stays as the encoder learned it.

The loss is listwise: the likelihood of the readers' order by softmax draws, with "none of these",
a choice of logit 0, after the last skill that serves (ListMLE, Xia et al. 2008). So logits of
different tasks can be compared, and one above 0 says that the skill is rather right than not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reranker.interaction import Floats, Standing, listed, standardised
from reranker.late_interaction import Head

CONSTANT = 1e-3  # standard deviation below which a column says nothing

FIRST = 4
"""A router scores so many candidates before it looks whether that suffices, and then more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that shapes the head's weights."""

    epochs: int = 12
    lists: int = 64  # of a step
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    hidden: int = 32
    dropout: float = 0.1
    heads: int = 3  # trained apart and averaged: one head, its hidden units side by side
    seed: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FiguredList:
    """A judged list: its columns in the readers' order, and how many serve."""

    columns: Floats  # shape (skills, columns)
    right: int


def rarity(texts: Sequence[Sequence[int]], size: int) -> Floats:
    """By token id, the logarithm of how rarely a text holds it (Robertson and Spärck Jones)."""
    holding = Counter(token for text in texts for token in set(text))
    counts = np.array([holding[token] for token in range(size)])
    return np.log(1 + (len(texts) + 0.5) / (counts + 0.5)).astype(np.float32)


def figured(
    rows: Sequence[int],
    pairs: Sequence[Sequence[float]],
    standings: Sequence[Standing],
    right: int,
) -> list[FiguredList]:
    """The list of a question, and its part that is scored first; all in the readers' order.

    As when it is served, `rows` order what was fused alike, which the readers' order must not.
    """
    by_fused = sorted(range(len(rows)), key=lambda n: (-standings[n].fused, rows[n]))
    found = []
    for taken in dict.fromkeys((len(rows), min(FIRST, len(rows)))):
        kept = sorted(by_fused[:taken])
        found.append(
            FiguredList(
                columns=listed([pairs[n] for n in kept], [standings[n] for n in kept]),
                right=sum(n < right for n in kept),
            )
        )
    return found


def order_loss(logits: Tensor, present: Tensor, right: Tensor) -> Tensor:
    """Mean of -log of the likelihood that skills and none are drawn in their order.

    Shapes (lists, skills), (lists, skills) and (lists,): logits in the readers' order, which of
    them are there, and after how many none comes. The n-th draw weighs 1 / n: what is at the top
    matters most (position-aware ListMLE, Lan et al. 2014).
    """
    count, width = logits.shape
    places = torch.arange(width).expand(count, width)
    places = torch.where(places < right[:, None], places, places + 1)
    drawn = torch.zeros(count, width + 1).scatter(1, places, logits.masked_fill(~present, -1e4))
    left = torch.logcumsumexp(drawn.flip(1), dim=1).flip(1)
    there = torch.ones(count, width + 1, dtype=torch.bool).scatter(1, places, present)
    weights = there / torch.arange(1, width + 2)
    return (((left - drawn) * weights).sum(1) / weights.sum(1)).mean()


def train(lists: Sequence[FiguredList], recipe: Recipe, *, centre: Floats, rarity: Floats) -> Head:
    """Train the recipe's heads over the same lists, and average them."""
    every = np.concatenate([each.columns for each in lists])
    mean, spread = every.mean(axis=0), every.std(axis=0)
    spread[spread < CONSTANT] = 1.0
    parts = [_weights(lists, mean, spread, recipe, recipe.seed + n) for n in range(recipe.heads)]
    inner, inner_bias, outer, outer_bias = zip(*parts, strict=True)
    return Head(
        centre=centre,
        rarity=rarity,
        mean=mean,
        spread=spread,
        inner=np.concatenate(inner, axis=1),
        inner_bias=np.concatenate(inner_bias),
        outer=(np.concatenate(outer) / recipe.heads).astype(np.float32),
        outer_bias=np.mean(outer_bias, axis=0),
    )


def _weights(
    lists: Sequence[FiguredList], mean: Floats, spread: Floats, recipe: Recipe, seed: int
) -> tuple[Floats, Floats, Floats, Floats]:
    """Inner weights and bias, outer weights and bias of one head."""
    torch.manual_seed(seed)
    inner = torch.nn.Linear(len(mean), recipe.hidden)
    outer = torch.nn.Linear(recipe.hidden, 1)
    net = torch.nn.Sequential(inner, torch.nn.ReLU(), torch.nn.Dropout(recipe.dropout), outer)
    optimiser = torch.optim.AdamW(
        net.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    steps = recipe.epochs * -(-len(lists) // recipe.lists)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for epoch in range(recipe.epochs):
        order = np.random.default_rng([seed, epoch]).permutation(len(lists))
        for start in range(0, len(order), recipe.lists):
            drawn = [lists[n] for n in order[start : start + recipe.lists]]
            columns, present, right = _stacked(drawn, mean, spread)
            loss = order_loss(net(columns)[..., 0], present, right)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            falling.step()
    kept = (inner.weight.T, inner.bias, outer.weight[0], outer.bias[0])
    a, b, c, d = (each.detach().numpy().astype(np.float32) for each in kept)
    return a, b, c, d


def _stacked(
    lists: Sequence[FiguredList], mean: Floats, spread: Floats
) -> tuple[Tensor, Tensor, Tensor]:
    """Standardised columns, which skills are there, and how many serve; padded with none."""
    longest = max(len(each.columns) for each in lists)
    columns = np.zeros((len(lists), longest, len(mean)), dtype=np.float32)
    present: NDArray[np.bool_] = np.zeros((len(lists), longest), dtype=np.bool_)
    for row, each in enumerate(lists):
        columns[row, : len(each.columns)] = standardised(each.columns, mean, spread)
        present[row, : len(each.columns)] = True
    right = torch.tensor([each.right for each in lists])
    return torch.from_numpy(columns), torch.from_numpy(present), right
