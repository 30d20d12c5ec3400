"""The request and the answer of /explain, version 1: what each stage saw of one skill."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from app.routing.contract import Asked, Name, RouteRequest, Twin


class ExplainRequest(Asked):
    """A route, and the skill that is asked about."""

    skill: Name = Field(description="id of the skill, `skl_…`")

    @property
    def route(self) -> RouteRequest:
        """The route that is explained."""
        return RouteRequest(**{name: getattr(self, name) for name in Asked.model_fields})


class Word(BaseModel):
    """An analysed word of the task, and how much it says."""

    word: str
    idf: float


class FeatureShare(BaseModel):
    """What one feature adds to the logit of the probability."""

    feature: str
    value: float
    weight: float
    contribution: float = Field(description="weight times value")


class VisibleStage(BaseModel):
    """Whether the request may see the skill."""

    stage: Literal["visible"] = "visible"
    visible: bool
    hidden_by: list[str] = Field(
        description="all that hide it: `catalogue`, `licence`, `language`, `tags`, `trust_floor`, "
        "`quarantined`, `not_routable`, `not_indexed`"
    )
    says: str


class LexicalStage(BaseModel):
    """What the lexical arm found."""

    stage: Literal["lexical"] = "lexical"
    rank: int | None = Field(description="from 1; null beyond the depth that was looked at")
    score: float | None = Field(description="BM25; null where it shares no word with the task")
    held: list[Word] = Field(
        description="the task's words in its name, its description or where its body begins"
    )
    lacking: list[Word] = Field(description="the task's other words")
    excluded: list[Word] = Field(
        description="the task's words that stand only in what the skill says it is not for"
    )
    says: str


class DenseStage(BaseModel):
    """What the dense arm found."""

    stage: Literal["dense"] = "dense"
    rank: int | None = Field(description="from 1; null beyond the depth that was looked at")
    cosine: float | None = Field(description="of its best passage")
    section: str | None = Field(description='heading of that passage, "" for its routing text')
    says: str


class FusedStage(BaseModel):
    """Where fusion put it among all that the arms returned."""

    stage: Literal["fused"] = "fused"
    rank: int | None = Field(description="from 1; null where neither arm returned it")
    score: float | None
    read_back: bool = Field(description="whether it went on to the second stage")
    says: str


class NamedStage(BaseModel):
    """Whether the task calls it."""

    stage: Literal["named"] = "named"
    named: bool
    says: str


class RerankStage(BaseModel):
    """What the second stage made of it."""

    stage: Literal["rerank"] = "rerank"
    score: float | None = Field(description="null where it was not scored")
    scored_by: str
    place: int | None = Field(description="in the final order, from 1; null where it has none")
    twin_of: Twin | None = Field(description="the skill that it was folded into")
    says: str


class DecisionStage(BaseModel):
    """How its probability of helping comes about; not rounded, so that it can be summed up."""

    stage: Literal["decision"] = "decision"
    features: list[FeatureShare]
    bias: float
    logit: float = Field(description="`bias` and all contributions")
    by_itself: float = Field(description="the logistic of `logit`")
    p_useful: float = Field(
        description="beside the skills before it: the chance that it adds to them"
    )
    load: float | None = Field(
        description="threshold in force; null where no promise is as strict as `max_false_load`"
    )
    consider: float = Field(description="threshold in force")
    calibration: str
    says: str


class OfferedStage(BaseModel):
    """What became of it."""

    stage: Literal["offered"] = "offered"
    offered: bool
    reason: str | None = Field(description="why it is not offered")
    says: str


Stage = Annotated[
    VisibleStage
    | LexicalStage
    | DenseStage
    | FusedStage
    | NamedStage
    | RerankStage
    | DecisionStage
    | OfferedStage,
    Field(discriminator="stage"),
]


class Explained(BaseModel):
    """Why a skill was or was not offered, stage by stage."""

    id: str
    catalogue: str
    path: str
    name: str
    digest: str
    decision: Literal["load", "consider", "none"] = Field(description="of the whole route")
    reason: str = Field(description="of the decision")
    confidence: float = Field(description="P(a skill here helps)")
    offered: bool = Field(description="whether the route offers this skill")
    not_offered: str | None = Field(description="why not; null where it is offered")
    section: str = Field(description="heading of the section that matched best")
    snippet: str
    stages: list[Stage] = Field(description="in the order in which a route passes them")
    policy: str
    models: dict[str, str]
    generation: str
    seq: int
