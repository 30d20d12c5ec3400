"""The policy file: the weights and thresholds in force, and the rows they were calibrated on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from core.errors import ModelMissingError
from reranker.decision import FEATURES, ScaleWeights

UNCALIBRATED = "uncalibrated"
FALLBACK = "overlap"  # what scores where no model does
SHIPPED = Path(__file__).with_name("policy.json")

_PROMISES_NOTHING: dict[str, Any] = {
    "calibration": UNCALIBRATED,
    "false_load": (),
    "negatives": "",
    "catalogues": {},
}


class Promise(BaseModel):
    """One line of the table behind `max_false_load`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_false_load: float = Field(gt=0, le=1)
    threshold: float = Field(ge=0, le=1)


class Calibrated(BaseModel):
    """What a probability and a promise rest on, and the promises that can be made on it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    calibration: str = Field(min_length=1, description="the rows it rests on, or `uncalibrated`")
    false_load: tuple[Promise, ...] = Field(
        default=(), description="from which probability a skill is loaded to keep which promise"
    )
    negatives: str = Field(default="", description="the rows that the promise was made on")


class OwnCalibration(Calibrated):
    """The same for one catalogue, by its own rows."""

    encoder: str = Field(description="revision of the encoder that they were routed with")
    skills: int | None = Field(
        default=None, ge=1, description="that were seen by them; any number without"
    )

    def holds(self, around: Surroundings) -> bool:
        """Whether the encoder is theirs and half to twice as many skills are seen.

        A filter on tags, or on some of the catalogues, may leave a few of those that were asked.
        """
        alike = self.skills is None or around.skills <= 2 * self.skills <= 4 * around.skills
        return alike and around.encoder == self.encoder


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a task is routed over."""

    encoder: str  # its revision
    skills: int  # that the request may see
    background: float  # their mean best cosine to the background queries
    catalogue: str  # the only one that is seen, or EVERYTHING


CONFIDENCE = "confidence"
"""The name of the first skill's probability among the `quantiles`."""

TENTHS = tuple(n / 10 for n in range(1, 10))
"""The shares of calibration rows that the `quantiles` part."""

QUANTILE_DIGITS = 6  # after the point, that are kept of them

EVERYTHING = "*"
"""What a calibration over all catalogues together is filed under."""


class Coverage(BaseModel):
    """The surroundings that a policy was fitted in; elsewhere it is not calibrated."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: str = Field(description="its revision")
    skills: tuple[int, int] = Field(description="fewest and most that were seen at once")
    background: tuple[float, float] = Field(description="least and greatest mean best cosine")

    def holds(self, around: Surroundings) -> bool:
        """Whether they are like these: half the fewest to twice the most skills, and a
        background within .1. How far a fit carries beyond its catalogues is a judgement: four of
        them cannot show it."""
        fewest, most = self.skills
        least, greatest = self.background
        return (
            around.encoder == self.encoder
            and fewest <= 2 * around.skills <= 4 * most
            and least - 0.1 <= around.background <= greatest + 0.1
        )


class Scale(ScaleWeights, Calibrated):
    """How the answers of one reranker are ordered and judged."""

    rerank_weight: float = Field(ge=0, le=1, description="of its score beside the fused one")
    enough: float | None = Field(
        default=None,
        description="reranker's score that the next skill would need to come first, from which "
        "on the rest is not scored; everything is without one",
    )
    load: float = Field(ge=0, le=1)
    consider: float = Field(ge=0, le=1)
    catalogues: dict[str, OwnCalibration] = Field(
        default={}, description="by catalogue, or `*`: what `loadstar calibrate` found there"
    )
    quantiles: dict[str, tuple[float, ...]] = Field(
        default={},
        description="by feature, and of the `confidence`: what parts the calibration rows into "
        "tenths, which drift is told by",
    )

    @model_validator(mode="after")
    def _ordered(self) -> Scale:
        if self.consider > self.load:
            raise ValueError("`consider` must not lie above `load`")
        return self

    @model_validator(mode="after")
    def _tenths(self) -> Scale:
        for name, edges in self.quantiles.items():
            if name not in FEATURES and name != CONFIDENCE:
                raise ValueError(f"`quantiles`: {name!r} is no feature")
            if len(edges) != len(TENTHS) or list(edges) != sorted(edges):
                raise ValueError(f"`quantiles` of {name!r} must be nine that never fall")
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
    covers: Coverage | None = Field(
        default=None, description="where it is calibrated; everywhere without"
    )

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
        return self.scales[FALLBACK].model_copy(update=_PROMISES_NOTHING | {"rerank_weight": 1.0})

    def scale_in(self, scored_by: str, around: Surroundings) -> Scale:
        """The scale of a reranker, with the promises that hold in these surroundings.

        A catalogue that was calibrated itself has its own while it is about as large as it was;
        elsewhere they are those of the fit, or none where the surroundings are unlike all that
        it has seen.
        """
        scale = self.scale(scored_by)
        own = scale.catalogues.get(around.catalogue)
        if own and own.holds(around):
            fields = Calibrated.model_fields
            return scale.model_copy(update={name: getattr(own, name) for name in fields})
        if self.covers and not self.covers.holds(around):
            return scale.model_copy(update=_PROMISES_NOTHING)
        return scale


def load_policy(path: Path = SHIPPED) -> Policy:
    """The policy in a file. Raises ModelMissingError with the field that is wrong."""
    try:
        return Policy.model_validate(json.loads(path.read_text()))
    except OSError as error:
        raise ModelMissingError(f"The policy file {path} cannot be read: {error}") from error
    except (ValueError, ValidationError) as error:
        raise ModelMissingError(f"The policy file {path} is not valid: {error}") from error
