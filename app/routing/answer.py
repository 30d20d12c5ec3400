"""The answer of a route, put together from ranked skills and their probabilities; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from app.routing.content import Content, cost
from app.routing.contract import NotLoaded, RoutedSkill, RouteRequest, Scores, Tokens, Twin
from app.routing.select import SNIPPET_CHARS, snippet
from core.text import prose
from core.types import Decision, Scored, SkillVersion, Verdict
from reranker.decision import Features
from reranker.policy import Surroundings

PROSE_CHARS = 4 * SNIPPET_CHARS  # of Markdown, for a snippet


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A ranked skill with the probability that it helps, and the features that gave it."""

    scored: Scored
    p_useful: float
    features: Features


def divide(
    judged: Sequence[Judged],
    decision: Decision,
    request: RouteRequest,
    threshold: float,
    contents: Mapping[int, Content],
) -> tuple[list[RoutedSkill], list[NotLoaded]]:
    """The skills to offer and the near misses with their reasons, both in rank order.

    `contents` has by row what is sent of each skill that may be offered, if anything is.
    """
    offered: list[RoutedSkill] = []
    near_misses: list[NotLoaded] = []
    spent = 0
    loaded = set(request.context.loaded)
    for each in judged:
        version = each.scored.version
        reason = _reason_not_to_load(each, decision, threshold, loaded)
        if reason is None and _over(request.token_budget, spent + cost(version, contents)):
            reason = "over_budget"
        if reason is None:
            spent += cost(version, contents)
            offered.append(_routed(each, contents.get(version.row)))
        else:
            near_misses.append(NotLoaded(**dict(_routed(each)), reason=reason))
    return offered, near_misses


def _reason_not_to_load(
    judged: Judged, decision: Decision, threshold: float, loaded: Set[str]
) -> str | None:
    if decision.verdict is Verdict.NONE:
        return "decision_none"
    if judged.scored.version.skill_id in loaded:
        return "already_loaded"
    if judged.p_useful < threshold:
        return "not_useful_enough"
    return None


def _over(budget: int | None, tokens: int) -> bool:
    return budget is not None and tokens > budget


def _routed(judged: Judged, content: Content | None = None) -> RoutedSkill:
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
        content=content.text if content else None,
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
