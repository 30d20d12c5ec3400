"""The frozen values that the programs hand to one another."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
"""One embedding, shape (dimension,), L2-normalised."""

Vectors = NDArray[np.float32]
"""Several embeddings, shape (texts, dimension), each row L2-normalised."""


def skill_id(catalogue: str, path: str) -> str:
    """The identity of a skill: its place, never its name (42 % of real skills share theirs)."""
    place = f"{catalogue}\0{path}".encode()
    return "skl_" + hashlib.sha256(place).hexdigest()[:24]


def text_hash(text: str) -> bytes:
    """sha256 of the UTF-8 text, 32 bytes: with the space, the key of a stored vector."""
    return hashlib.sha256(text.encode()).digest()


class Severity(StrEnum):
    """How much a finding in a SKILL.md matters."""

    INFO = "info"  # recovered without loss
    WARNING = "warning"  # against the specification, or recovered with a guess
    ERROR = "error"  # something was lost


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One named oddity of a SKILL.md; `line` counts from 1 in the file, None for the whole file."""

    code: str
    severity: Severity
    detail: str
    line: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading and the Markdown under it, up to the next heading; the preamble has no heading."""

    heading: str
    level: int  # 0 for the preamble, 1-6 for headings
    text: str  # the Markdown below the heading, code blocks included
    line: int  # of the heading, in the file


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeBlock:
    """A fenced or indented block of a body."""

    language: str
    text: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillDraft:
    """What could be read from SKILL.md bytes; parsing never raises on content."""

    name: str
    description: str  # "" where neither frontmatter nor body gave one
    description_source: str  # "frontmatter", "body" or "none"
    licence: str | None
    frontmatter: Mapping[str, Any]  # JSON-compatible
    body: str
    sections: tuple[Section, ...]
    code_blocks: tuple[CodeBlock, ...]
    triggers: tuple[str, ...]  # sentences and list items that say when to use the skill
    tags: tuple[str, ...]
    routable: bool  # False for `disable-model-invocation` and skills marked internal
    problems: tuple[Problem, ...]


class PassageKind(StrEnum):
    """Which part of a skill a passage speaks for."""

    ROUTING = "routing"
    BODY = "body"


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """One embedded piece of a skill."""

    kind: PassageKind
    section: str  # heading of the section it starts in, "" for routing text
    line: int
    text: str


class Trust(IntEnum):
    """How far a version may be trusted; a filter's floor compares these."""

    QUARANTINED = 0
    UNREVIEWED = 1
    SCREENED = 2
    REVIEWED = 3
    PINNED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCounts:
    """What each disclosure level costs a reader, in the encoder's tokens."""

    routing: int  # name and description
    body: int  # the whole SKILL.md body
    files: int  # every other readable text file of the package


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Everything that makes two vectors comparable."""

    model: str
    revision: str
    pooling: str
    max_tokens: int
    precision: str
    passage_format: str
    dimension: int

    @property
    def id(self) -> str:
        """Short stable name, e.g. `minilm-l6-v2-1a2b3c4d5e6f`."""
        parts = (
            self.model,
            self.revision,
            self.pooling,
            str(self.max_tokens),
            self.precision,
            self.passage_format,
            str(self.dimension),
        )
        digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
        return f"{self.model.rsplit('/', 1)[-1]}-{digest}"

    def describe(self) -> dict[str, str | int]:
        """The fields by name, for answers, `doctor` and error messages."""
        return {
            "id": self.id,
            "model": self.model,
            "revision": self.revision,
            "pooling": self.pooling,
            "max_tokens": self.max_tokens,
            "precision": self.precision,
            "passage_format": self.passage_format,
            "dimension": self.dimension,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedPassage:
    """A passage as the index holds it: where it stands and its vector."""

    section: str
    vector: NDArray[np.float16]  # shape (dimension,)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRow:
    """One live version of a skill as both the generation and the delta index it."""

    row: int  # int64, never reused
    skill_id: str
    catalogue: str
    name: str
    description: str
    triggers: tuple[str, ...]
    body: str
    licence: str | None
    language: str
    tags: tuple[str, ...]
    trust: Trust
    routable: bool
    passages: tuple[IndexedPassage, ...]  # routing passage first


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What a request may see; an empty tuple means no restriction."""

    catalogues: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()  # a skill must carry every one
    trust_floor: Trust = Trust.UNREVIEWED


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmHit:
    """What one arm says of one skill."""

    row: int
    score: float  # on the arm's own scale: a cosine, or BM25
    share: float  # of the most that any skill could score for this task, [0, 1]
    passage: int | None = None  # ordinal of the best passage; None where the arm has none


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A skill that at least one arm returned, with its fused score."""

    row: int
    score: float  # fused, in [0, 1]
    arm_scores: Mapping[str, float]  # raw, by arm
    passage: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillVersion:
    """A stored version, read back for reranking and for the answer."""

    row: int
    skill_id: str
    catalogue: str
    path: str
    digest: str
    declared_version: str | None  # what its own frontmatter says
    name: str
    description: str
    triggers: tuple[str, ...]
    body: str
    licence: str | None
    language: str
    tags: tuple[str, ...]
    trust: Trust
    routable: bool
    tokens: TokenCounts
    signature: NDArray[np.uint32]  # MinHash of the body, shape (permutations,)
    passages: tuple[Passage, ...]
    problems: tuple[Problem, ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A candidate after the second stage; `score` orders the answer."""

    version: SkillVersion
    score: float
    fused: float
    arm_scores: Mapping[str, float]
    rerank: float | None
    passage: int | None
    exact_name: bool
    twins: tuple[SkillVersion, ...] = ()


class Verdict(StrEnum):
    """What the agent should do."""

    LOAD = "load"
    CONSIDER = "consider"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A verdict, why, and the probability that a skill here helps."""

    verdict: Verdict
    reason: str
    confidence: float
    calibration: str  # the rows it rests on, or "uncalibrated"
