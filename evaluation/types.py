"""What the parts of an evaluation hand to one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

Place = str
"""A skill as `owner/repo/path…`: catalogue and path joined, as the dumps name it."""

POOL = "pool"
"""The scope of a run over every skill there is, rather than over one catalogue."""


def catalogue_of(place: Place) -> str:
    """The `owner/repo` that a place begins with."""
    return "/".join(place.split("/", 2)[:2])


class Split(StrEnum):
    """What a row may be used for."""

    TRAIN = "train"
    CALIBRATION = "calibration"
    TEST = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A task with the skills that should fire; none of them for a negative."""

    qid: str
    text: str
    relevant: tuple[Place, ...]
    catalogue: str | None  # within which it is scored; None: the whole pool only
    source: str  # the set it comes from
    split: Split
    names_skill: bool = False  # it holds the answer: reported apart
    truncated: bool = False  # the right skill's body is cut in the dump: reported apart
    weak_negative: bool = False  # a negative that nobody checked
    weak_positive: bool = False  # its skill is where the text was found; nobody named it
    language: str = "en"
    candidates: tuple[Place, ...] = ()  # all that it may be ranked over; (): its catalogue
    withheld: tuple[Place, ...] = ()  # right, and taken out of the candidates


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerPair:
    """A task and one skill, with whether that skill should load for it."""

    qid: str
    text: str
    place: Place
    should_load: bool
    split: Split
    names_skill: bool = False
    truncated: bool = False
    language: str = "en"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """What one system answered to one query, best first."""

    places: tuple[Place, ...]
    scores: tuple[float, ...]
    latency_ms: float
    p_useful: float | None = None  # the system's own probability that a skill here helps
    decision: str | None = None  # load, consider or none


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One system over one scope (a catalogue, or the pool)."""

    system: str
    scope: str
    rankings: Mapping[str, Ranking]  # by qid
    tokens_per_skill: float = 0.0  # spent by the embedder on each skill
    notes: Sequence[str] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean with its 95 % bootstrap interval, over `rows` queries."""

    mean: float
    low: float
    high: float
    rows: int
