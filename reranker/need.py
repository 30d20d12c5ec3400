"""Whether a task needs any skill, told from its vector alone; pure.

Small talk, steering of a conversation and questions that a model answers by itself look alike
whatever is indexed, and a large catalogue holds something near to each of them.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import ModelMissingError
from core.types import Space, Vector

SHIPPED = Path(__file__).with_name("need.json")


class Need(BaseModel):
    """A logistic over an encoder's dimensions (a linear probe, Alain and Bengio 2016)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: str = Field(description="revision of the encoder whose vectors it weighs")
    bias: float
    weights: tuple[float, ...]

    def logit(self, vector: Vector) -> float:
        """Below 0 where the task, of shape (dimension,), rather needs no skill."""
        values: list[float] = vector.tolist()
        return self.bias + sum(w * x for w, x in zip(self.weights, values, strict=True))


def load_need(space: Space, file: Path = SHIPPED) -> Need | None:
    """The probe of this encoder's vectors; None for an encoder that it was not fitted for.

    Raises ModelMissingError where the file cannot be read or is not valid.
    """
    try:
        need = Need.model_validate(json.loads(file.read_text()))
    except OSError as error:
        raise ModelMissingError(f"The file {file} cannot be read: {error}") from error
    except (ValueError, ValidationError) as error:
        raise ModelMissingError(f"The file {file} is not valid: {error}") from error
    return need if need.encoder == space.revision else None
