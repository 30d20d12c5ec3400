"""A training run: steps, checkpoints to go on from, and a held-out curve."""

from __future__ import annotations

import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.errors import LoadstarError

CHECKPOINT = "checkpoint.pt"
CURVE = "curve.jsonl"

Figures = Mapping[str, float]
OnStep = Callable[[int, int, str], None]
"""Told the step, how many there are, and the loss with the last held-out figures."""


class TrainingError(LoadstarError):
    """A training run cannot start or go on."""

    code = "training_refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecipe:
    """What shapes the weights in every run; two runs of one recipe over the same rows agree."""

    steps: int
    learning_rate: float  # its peak
    warm_up: float = 0.1  # share of the steps
    kept: float = 1.0  # share of what training changed, see TrainingRun._keep
    seed: int = 1


class TrainingRun(ABC):
    """One run, which goes on where its folder's checkpoint left it."""

    def __init__(
        self, model: Any, recipe: RunRecipe, folder: Path, rows: Mapping[str, int]
    ) -> None:
        """`rows` says what is trained on, as far as to tell a run over other rows.

        Raises TrainingError where the folder holds a run of another recipe or other rows.
        """
        self._model = model
        self._recipe = recipe
        self._folder = folder
        self._identity = json.loads(json.dumps({**asdict(recipe), **rows}))
        self._start = {name: w.clone() for name, w in model.state_dict().items()}
        self._done = 0
        self._optimiser = torch.optim.AdamW(
            model.parameters(), lr=recipe.learning_rate, weight_decay=0.01
        )
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / CHECKPOINT).is_file():
            self._resume()

    @abstractmethod
    def loss(self, step: int) -> Tensor:
        """The loss of a step, with gradients; the same for the same step of the same recipe."""

    @abstractmethod
    def measure(self) -> Figures:
        """The held-out figures of the weights as they are."""

    def run(self, on_step: OnStep, *, every: int = 200) -> None:
        """Train to the recipe's last step; measure, save and note the curve `every` steps.

        The last line of the curve is of the weights that are kept.
        """
        steps = self._recipe.steps
        if not self._done:
            self._note(math.nan, 0.0)
        losses: list[float] = []
        began = time.monotonic()
        while self._done < steps:
            losses.append(self._step())
            step = self._done
            on_step(step, steps, f"loss {np.mean(losses[-50:]):.3f}")
            if step % every == 0 or step == steps:
                seconds = time.monotonic() - began
                self._save()
                if step == steps:
                    self._keep()
                on_step(step, steps, self._note(float(np.mean(losses)), seconds))
                losses, began = [], time.monotonic()

    def curve(self) -> list[dict[str, float]]:
        """The held-out figures by step, with the mean loss and the seconds since the last ones."""
        return [json.loads(line) for line in (self._folder / CURVE).read_text().splitlines()]

    def _step(self) -> float:
        loss = self.loss(self._done)
        for group in self._optimiser.param_groups:
            group["lr"] = self._recipe.learning_rate * schedule(self._done, self._recipe)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
        self._optimiser.step()
        self._optimiser.zero_grad()
        self._done += 1
        return float(loss.item())

    def _keep(self) -> None:
        """Draw the weights back towards the start's, where they were robust.

        Wortsman et al. 2022, "Robust fine-tuning of zero-shot models".
        """
        weights = self._model.state_dict()
        for name, start in self._start.items():
            if start.is_floating_point():
                weights[name].copy_(torch.lerp(start, weights[name], self._recipe.kept))

    def _note(self, loss: float, seconds: float) -> str:
        figures = self.measure()
        line = {"step": self._done, "loss": loss, "seconds": seconds, **figures}
        with (self._folder / CURVE).open("a") as curve:
            curve.write(json.dumps(line) + "\n")
        return " ".join(f"{name} {value:.3f}" for name, value in figures.items())

    def _save(self) -> None:
        state = {
            "identity": self._identity,
            "model": self._model.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "step": self._done,
        }
        unfinished = self._folder / f"{CHECKPOINT}.new"
        torch.save(state, unfinished)
        unfinished.replace(self._folder / CHECKPOINT)

    def _resume(self) -> None:
        state = torch.load(self._folder / CHECKPOINT, map_location="cpu", weights_only=True)
        if state["identity"] != self._identity:
            raise TrainingError(
                f"{self._folder} holds a run of another recipe or other rows. Name another "
                "folder, or remove it."
            )
        self._model.load_state_dict(state["model"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._done = state["step"]
        if self._done == self._recipe.steps:
            self._keep()


def schedule(step: int, recipe: RunRecipe) -> float:
    """Share of the learning rate: a linear rise over `warm_up`, then a cosine down to zero."""
    rise = max(1, round(recipe.warm_up * recipe.steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, recipe.steps - rise)))
