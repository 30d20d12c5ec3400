"""The policy file: the weights and thresholds in force, and the rows they were calibrated on."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from core.errors import ModelMissingError

UNCALIBRATED = "uncalibrated"
PROVISIONAL = Path(__file__).with_name("provisional_policy.json")


class ScaleWeights(BaseModel):
    """A logistic model over the decision features, for answers scored by one reranker."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bias: float
    dense_lift: float = Field(ge=0)
    coverage: float = Field(ge=0)
    agreement: float = Field(ge=0)


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

    @model_validator(mode="after")
    def _ordered(self) -> Policy:
        if self.consider > self.load:
            raise ValueError("`consider` must not lie above `load`")
        if not any(weight > 0 for weight in self.arm_weights.values()):
            raise ValueError("`arm_weights` must hold a positive weight")
        return self


def load_policy(path: Path = PROVISIONAL) -> Policy:
    """The policy in a file. Raises ModelMissingError with the field that is wrong."""
    try:
        return Policy.model_validate(json.loads(path.read_text()))
    except OSError as error:
        raise ModelMissingError(f"The policy file {path} cannot be read: {error}") from error
    except (ValueError, ValidationError) as error:
        raise ModelMissingError(f"The policy file {path} is not valid: {error}") from error
