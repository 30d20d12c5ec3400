"""The policy file: the weights and thresholds in force, and the rows they were calibrated on."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from core.errors import ModelMissingError
from reranker.decision import ScaleWeights

UNCALIBRATED = "uncalibrated"
FALLBACK = "overlap"  # what scores where no model does
SHIPPED = Path(__file__).with_name("policy.json")


class Promise(BaseModel):
    """One line of the table behind `max_false_load`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_false_load: float = Field(gt=0, le=1)
    threshold: float = Field(ge=0, le=1)


class Scale(ScaleWeights):
    """How the answers of one reranker are ordered and judged."""

    calibration: str = Field(min_length=1, description="the rows it rests on, or `uncalibrated`")
    rerank_weight: float = Field(ge=0, le=1, description="of its score beside the fused one")
    enough: float | None = Field(
        default=None,
        description="reranker's score that the next skill would need to come first, from which "
        "on the rest is not scored; everything is without one",
    )
    load: float = Field(ge=0, le=1)
    consider: float = Field(ge=0, le=1)
    false_load: tuple[Promise, ...] = Field(
        default=(), description="from which probability a skill is loaded to keep which promise"
    )
    negatives: str = Field(default="", description="the rows that the promise was made on")

    @model_validator(mode="after")
    def _ordered(self) -> Scale:
        if self.consider > self.load:
            raise ValueError("`consider` must not lie above `load`")
        return self

    @model_validator(mode="after")
    def _promises(self) -> Scale:
        if self.false_load and self.calibration == UNCALIBRATED:
            raise ValueError("an uncalibrated scale must not hold `false_load`")
        lines = sorted(self.false_load, key=lambda line: line.max_false_load)
        if any(lax.threshold > strict.threshold for strict, lax in pairwise(lines)):
            raise ValueError("`false_load`: a laxer promise must not have a higher threshold")
        return self


class Policy(BaseModel):
    """What turns scores into a verdict; read once, never edited, replaced as a whole."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1)
    arm_weights: dict[str, float]
    scales: dict[str, Scale] = Field(description="by the `scored_by` they judge")

    @model_validator(mode="after")
    def _complete(self) -> Policy:
        if not any(weight > 0 for weight in self.arm_weights.values()):
            raise ValueError("`arm_weights` must hold a positive weight")
        if FALLBACK not in self.scales:
            raise ValueError(f"`scales` must hold {FALLBACK!r}, which is always fallen back on")
        return self

    def scale(self, scored_by: str) -> Scale:
        """The scale of a reranker. One that nothing was fitted for orders by its own score, and
        is judged, uncalibrated, as the fallback is."""
        if found := self.scales.get(scored_by):
            return found
        unknown = {"calibration": UNCALIBRATED, "rerank_weight": 1.0, "false_load": ()}
        return self.scales[FALLBACK].model_copy(update=unknown)


def load_policy(path: Path = SHIPPED) -> Policy:
    """The policy in a file. Raises ModelMissingError with the field that is wrong."""
    try:
        return Policy.model_validate(json.loads(path.read_text()))
    except OSError as error:
        raise ModelMissingError(f"The policy file {path} cannot be read: {error}") from error
    except (ValueError, ValidationError) as error:
        raise ModelMissingError(f"The policy file {path} is not valid: {error}") from error
