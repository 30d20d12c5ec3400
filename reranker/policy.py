"""The policy file: the weights and thresholds in force, and the rows they were calibrated on."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from core.errors import ModelMissingError
from reranker.decision import ScaleWeights

UNCALIBRATED = "uncalibrated"
SHIPPED = Path(__file__).with_name("policy.json")


class Promise(BaseModel):
    """One line of the table behind `max_false_load`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_false_load: float = Field(gt=0, le=1)
    threshold: float = Field(ge=0, le=1)


class Policy(BaseModel):
    """What turns scores into a verdict; read once, never edited, replaced as a whole."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1)
    calibration: str = Field(min_length=1, description="the rows it rests on, or `uncalibrated`")
    arm_weights: dict[str, float]
    rerank_weight: float = Field(ge=0, le=1)
    load: float = Field(ge=0, le=1)
    consider: float = Field(ge=0, le=1)
    scales: dict[str, ScaleWeights] = Field(description="by the `scored_by` they judge")
    false_load: tuple[Promise, ...] = Field(
        default=(), description="from which probability a skill is loaded to keep which promise"
    )
    negatives: str = Field(default="", description="the rows that the promise was made on")

    @model_validator(mode="after")
    def _ordered(self) -> Policy:
        if self.consider > self.load:
            raise ValueError("`consider` must not lie above `load`")
        if not any(weight > 0 for weight in self.arm_weights.values()):
            raise ValueError("`arm_weights` must hold a positive weight")
        return self

    @model_validator(mode="after")
    def _promises(self) -> Policy:
        if self.false_load and self.calibration == UNCALIBRATED:
            raise ValueError("an uncalibrated policy must not hold `false_load`")
        lines = sorted(self.false_load, key=lambda line: line.max_false_load)
        if any(lax.threshold > strict.threshold for strict, lax in pairwise(lines)):
            raise ValueError("`false_load`: a laxer promise must not have a higher threshold")
        return self


def load_policy(path: Path = SHIPPED) -> Policy:
    """The policy in a file. Raises ModelMissingError with the field that is wrong."""
    try:
        return Policy.model_validate(json.loads(path.read_text()))
    except OSError as error:
        raise ModelMissingError(f"The policy file {path} cannot be read: {error}") from error
    except (ValueError, ValidationError) as error:
        raise ModelMissingError(f"The policy file {path} is not valid: {error}") from error
