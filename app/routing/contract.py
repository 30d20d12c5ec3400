"""The request and the answer of /route, version 1."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from core.types import Filters, Trust

MAX_TASK_CHARS = 20_000
MAX_K = 50

Task = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TASK_CHARS)
]
Level = Literal["routing", "section", "body", "file"]
"""What of a skill is sent: name and description, one section, the whole body, or a file."""

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300)]
Names = Annotated[list[Name], Field(max_length=100)]


class Strict(BaseModel):
    """A request part: an unknown field is an error, so that a typing mistake is never silent."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TrustName(StrEnum):
    """The trust tiers that a filter may name."""

    UNREVIEWED = "unreviewed"
    SCREENED = "screened"
    REVIEWED = "reviewed"
    PINNED = "pinned"


class RouteFilters(Strict):
    """What the request may see; an empty list means no restriction."""

    catalogues: Names = Field(default=[], description="`owner/name` of the catalogues to search")
    licences: Names = Field(default=[], description="SPDX ids; a skill must carry one of them")
    languages: Names = Field(default=[], description="ISO 639-1 codes; a skill must be in one")
    tags: Names = Field(default=[], description="a skill must carry every one")
    trust_floor: TrustName = Field(
        default=TrustName.UNREVIEWED, description="the lowest trust tier that may be routed"
    )

    def to_filters(self) -> Filters:
        """The same as the index takes it."""
        return Filters(
            catalogues=tuple(self.catalogues),
            licences=tuple(self.licences),
            languages=tuple(self.languages),
            tags=tuple(tag.casefold() for tag in self.tags),
            trust_floor=Trust[self.trust_floor.name],
        )


class RouteContext(Strict):
    """What the agent knows beside the task."""

    messages: Annotated[
        list[Annotated[str, StringConstraints(max_length=MAX_TASK_CHARS)]], Field(max_length=20)
    ] = Field(default=[], description="recent messages, oldest first; searched after the task")
    tools: Names = Field(
        default=[],
        description="tools at hand; with any named, a skill whose MCP server is not among them is "
        "not offered",
    )
    platform: Name | None = Field(default=None, description="kept in the ledger")
    loaded: Names = Field(default=[], description="ids of skills already loaded: not offered again")


class Asked(Strict):
    """A task, and what may be offered for it."""

    task: Task = Field(description="what the agent has to do, in its user's words")
    context: RouteContext = RouteContext()
    k: int = Field(default=5, ge=1, le=MAX_K, description="how many skills to answer with at most")
    token_budget: int | None = Field(
        default=None,
        ge=1,
        description="most tokens that all offered skills may cost together: those of the content "
        "that `include` sends; of the bodies, which are still to be loaded, where it is `none`",
    )
    filters: RouteFilters = RouteFilters()
    max_false_load: float | None = Field(
        default=None, gt=0, le=1, description="the share of needless loads that is tolerable"
    )


class RouteRequest(Asked):
    """A task, what may be offered for it, and what the answer should hold."""

    explain: bool = Field(
        default=False, description="add what each stage saw of each skill, and the features"
    )
    include: Literal["none", "routing", "section", "body"] = Field(
        default="none", description="how much content to send with each offered skill"
    )

    def widened(self) -> RouteRequest | None:
        """Whatever would load of all that the catalogues hold; None where other filters hide
        nothing of it. Catalogues stay: who may not see one shall not hear of it."""
        catalogues_alone = RouteFilters(catalogues=self.filters.catalogues)
        if self.filters == catalogues_alone:
            return None
        wider = {"filters": catalogues_alone, "include": "none", "max_false_load": None}
        return self.model_copy(update=wider)


class Tokens(BaseModel):
    """Cost of each disclosure level, in the encoder's tokens."""

    routing: int
    body: int
    files: int


class Scores(BaseModel):
    """Raw score of each stage; null where a stage did not see the skill."""

    lexical: float | None
    dense: float | None
    fused: float
    rerank: float | None
    final: float


class Twin(BaseModel):
    """A skill with the same or nearly the same body."""

    id: str
    catalogue: str
    path: str


class RoutedSkill(BaseModel):
    """One skill in the answer."""

    id: str
    catalogue: str
    path: str
    name: str
    description: str
    version: str | None = Field(description="the version that the skill itself declares")
    digest: str
    uri: str = Field(description="where its content is, on this server")
    p_useful: float = Field(description="probability that this skill helps with the task")
    scores: Scores
    exact_name: bool = Field(
        description="the task calls this skill by its name, and no other has it"
    )
    section: str = Field(
        description="heading of the section that matched best; with `include: section` of the one "
        'that is sent, "" where none holds a word of the task'
    )
    snippet: str
    tokens: Tokens
    trust: str
    licence: str | None
    language: str
    twins: list[Twin]
    serves: list[str] = Field(
        default=[], description="the parts of the task that it is offered for, as they begin"
    )
    content: str | None = Field(default=None, description="as asked for with `include`")
    content_level: Level | None = Field(
        default=None, description="what `content` is; `routing` too where no section fits the task"
    )
    content_tokens: int | None = Field(default=None, description="what `content` costs")
    content_sha256: str | None = Field(default=None, description="hex digest of `content` as UTF-8")


class NotLoaded(RoutedSkill):
    """A near miss and why it is not offered."""

    reason: str


class RouteAnswer(BaseModel):
    """The verdict, the skills worth their tokens, and what it rests on."""

    route_id: str
    decision: Literal["load", "consider", "none"]
    reason: str
    confidence: float = Field(description="P(a skill here helps)")
    calibration: str = Field(description="the rows it rests on, or `uncalibrated`")
    skills: list[RoutedSkill]
    not_loaded: list[NotLoaded]
    scored_by: str
    policy: str
    models: dict[str, str]
    generation: str
    seq: int
    recorded: bool = Field(description="false where the ledger could not commit in time")
    timings_ms: dict[str, float]
    explain: dict[str, Any] | None = None
