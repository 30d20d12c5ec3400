"""Fits what tells tasks that need a skill from messages that need none; arrays in."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from scipy.optimize import minimize
from scipy.special import expit

from core.types import Vectors
from reranker.learn.examples import TasksError
from reranker.need import Need

NEEDLESS_FILE = Path(__file__).with_name("needless.jsonl")

SHRINKAGE = 0.5
"""Of the squared weights, beside the loss summed over the rows. A tenth of it told MetaTool's
requests apart by .01 more and short skill prompts by .04 less (docs/decisions/0017)."""


class Needless(BaseModel):
    """A line of NEEDLESS_FILE: a message, written for Loadstar, that needs no skill."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str
    kind: Literal[
        "small_talk",
        "follow_up",
        "knowledge",
        "opinion_advice",
        "light_writing",
        "light_code",
        "out_of_reach",  # no folder of instructions could do it
    ]


def read_needless(file: Path = NEEDLESS_FILE) -> list[Needless]:
    """Every line. Raises TasksError, naming the line, where one cannot be read."""
    found = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            found.append(Needless.model_validate_json(line))
        except ValidationError as error:
            raise TasksError(f"{file.name}, line {number}: {error}") from error
    return found


def fit_need(needing: Vectors, needless: Vectors, encoder: str) -> Need:
    """Logistic regression, both kinds counting alike; `encoder` is the revision of the vectors.

    Shapes (texts, dimension). Raises ValueError where either kind is missing.
    """
    if not len(needing) or not len(needless):
        raise ValueError("messages of both kinds are needed")
    rows = np.concatenate([needing, needless]).astype(np.float64)
    columns = np.column_stack([rows, np.ones(len(rows))])
    target = np.repeat([1.0, 0.0], [len(needing), len(needless)])
    sizes = np.where(target == 1, len(needing), len(needless))
    weight = len(rows) / (2 * sizes)

    def loss(solution: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logit, slopes = columns @ solution, np.append(solution[:-1], 0.0)
        each = np.logaddexp(0, logit) - target * logit
        gradient = columns.T @ (weight * (expit(logit) - target)) + 2 * SHRINKAGE * slopes
        return float(weight @ each + SHRINKAGE * slopes @ slopes), gradient

    solution = minimize(loss, np.zeros(columns.shape[1]), jac=True, method="L-BFGS-B").x
    *weights, bias = (round(value, 4) for value in solution.tolist())
    return Need(encoder=encoder, bias=bias, weights=tuple(weights))
