"""The answer of a route, put together from ranked skills and their probabilities; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from app.routing.content import Content, cost
from app.routing.contract import (
    NotLoaded,
    RouteAnswer,
    RoutedSkill,
    RouteRequest,
    Scores,
    Tokens,
    Twin,
)
from app.routing.needs import ADDED_FROM, MOST_SKILLS, Needs, Shares, affordable, serving
from app.routing.select import SNIPPET_CHARS, snippet
from core.text import prose
from core.types import Decision, Scored, SkillVersion, Verdict
from reranker.decision import Features
from reranker.policy import Surroundings

# What a user wrote is kept under the ledger's own rule, or not at all.
_UNRECORDED: dict[str, bool | set[str]] = {"task": True, "context": {"messages"}}

PROSE_CHARS = 4 * SNIPPET_CHARS  # of Markdown, for a snippet


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A ranked skill with the probability that it helps, and what that rests on."""

    scored: Scored
    p_alone: float  # by itself, as its features say
    p_useful: float  # beside those before it
    features: Features
    shares: Shares  # of each need of the task, what it holds


def reasons(
    judged: Sequence[Judged],
    decision: Decision,
    request: RouteRequest,
    threshold: float,
    lacking: Set[int],
) -> list[str | None]:
    """Why each skill is not to be loaded, whatever it costs; None for those of the set.

    `lacking` are the rows of skills whose MCP servers are not at hand.
    """
    loaded = set(request.context.loaded)
    found: list[str | None] = []
    for each in judged:
        version = each.scored.version
        if decision.verdict is Verdict.NONE:
            found.append("decision_none")
        elif version.skill_id in loaded:
            found.append("already_loaded")
        elif version.row in lacking:
            found.append("needs_tool")
        elif all(reason == "needs_tool" for reason in found):  # nothing to use comes before it
            found.append(None if each.p_alone >= threshold else "not_useful_enough")
        elif each.p_useful >= ADDED_FROM and found.count(None) < MOST_SKILLS:
            found.append(None)
        else:
            found.append("adds_nothing" if each.p_alone >= threshold else "not_useful_enough")
    return found


def divide(
    judged: Sequence[Judged],
    reasons: Sequence[str | None],
    request: RouteRequest,
    contents: Mapping[int, Content],
    needs: Needs,
) -> tuple[list[RoutedSkill], list[NotLoaded]]:
    """The skills to offer, as far as the budget goes, and the others with their reasons.

    Both in rank order. `contents` has by row what is sent of each skill, if anything is.
    """
    chosen = [each for each, reason in zip(judged, reasons, strict=True) if reason is None]
    costs = [cost(each.scored.version, contents) for each in chosen]
    kept = affordable([each.shares for each in chosen], costs, request.token_budget)
    bought = [each for place, each in enumerate(chosen) if place in kept]
    rows = {each.scored.version.row for each in bought}
    serves = serving([each.shares for each in bought], needs.texts)
    offered = [
        _routed(each, contents.get(each.scored.version.row), parts)
        for each, parts in zip(bought, serves, strict=True)
    ]
    near_misses = [
        NotLoaded(**dict(_routed(each)), reason=reason or "over_budget")
        for each, reason in zip(judged, reasons, strict=True)
        if each.scored.version.row not in rows
    ]
    return offered, near_misses


def _routed(
    judged: Judged, content: Content | None = None, serves: Sequence[str] = ()
) -> RoutedSkill:
    scored, version = judged.scored, judged.scored.version
    section, text = _matched(scored, content)
    return RoutedSkill(
        id=version.skill_id,
        catalogue=version.catalogue,
        path=version.path,
        name=version.name,
        description=version.description,
        version=version.declared_version,
        digest=version.digest,
        uri=content_uri(version),
        p_useful=round(judged.p_useful, 4),
        scores=Scores(
            lexical=scored.arm_scores.get("lexical"),
            dense=scored.arm_scores.get("dense"),
            fused=scored.fused,
            rerank=scored.rerank,
            final=scored.score,
        ),
        exact_name=scored.exact_name,
        section=section,
        snippet=text,
        tokens=Tokens(
            routing=version.tokens.routing, body=version.tokens.body, files=version.tokens.files
        ),
        trust=version.trust.name.lower(),
        licence=version.licence,
        language=version.language,
        twins=[
            Twin(id=twin.skill_id, catalogue=twin.catalogue, path=twin.path)
            for twin in scored.twins
        ],
        serves=list(serves),
        content=content.text if content else None,
        content_level=content.level if content else None,
        content_tokens=content.tokens if content else None,
        content_sha256=content.sha256 if content else None,
    )


def _matched(scored: Scored, content: Content | None) -> tuple[str, str]:
    """Heading and start of what matched: of the section that is sent, else of the passage."""
    if content is None or content.section is None:
        return snippet(scored)
    return content.section, prose(content.text[:PROSE_CHARS])[:SNIPPET_CHARS]


def content_uri(version: SkillVersion) -> str:
    """The path on this server of the version's SKILL.md."""
    return f"/v1/skills/{version.skill_id}/versions/{version.digest}/content"


def ledger_row(
    request: RouteRequest, reply: RouteAnswer, timings_ms: Mapping[str, float]
) -> dict[str, object]:
    """What the ledger keeps of a route, beside its task."""
    return {
        "route_id": reply.route_id,
        "at": datetime.now(UTC),
        "request": request.model_dump(mode="json", exclude=_UNRECORDED),
        "decision": reply.decision,
        "reason": reply.reason,
        "confidence": reply.confidence,
        "calibration": reply.calibration,
        "scored_by": reply.scored_by,
        "skills": [{"id": s.id, "p_useful": s.p_useful} for s in reply.skills],
        "not_loaded": [
            {"id": s.id, "p_useful": s.p_useful, "reason": s.reason} for s in reply.not_loaded
        ],
        "policy": reply.policy,
        "models": reply.models,
        "generation": reply.generation,
        "seq": reply.seq,
        "timings": dict(timings_ms),
    }


def explanation(
    judged: Sequence[Judged], background: NDArray[np.float32], around: Surroundings
) -> dict[str, object]:
    """The decision features of each skill by id, and the background they are relative to."""
    return {
        "surroundings": asdict(around),
        "background": {
            "mean": round(float(background.mean()), 4),
            "spread": round(float(background.std()), 4),
        },
        "features": {
            each.scored.version.skill_id: {
                name: round(value, 6) for name, value in each.features.items()
            }
            for each in judged
        },
    }
