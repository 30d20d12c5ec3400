"""Skills by id, with their problems and their history."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from app.api.dependencies import WithParts
from app.routing.live import live_version
from core import store
from core.db import read
from core.errors import NotFoundError
from core.types import SkillVersion

router = APIRouter(prefix="/v1/skills", tags=["skills"])


class SkillSummary(BaseModel):
    """A skill in a list."""

    id: str
    catalogue: str
    path: str
    name: str
    description: str
    digest: str
    licence: str | None
    language: str
    trust: str
    routable: bool


class SkillPage(BaseModel):
    """One page of skills; `next` is the cursor of the page after it, null on the last."""

    skills: list[SkillSummary]
    next: str | None


class SkillProblem(BaseModel):
    """An oddity of the SKILL.md, with its line."""

    code: str
    severity: str
    detail: str
    line: int | None


class PastVersion(BaseModel):
    """One publication of the skill."""

    digest: str
    version: str | None
    published_at: datetime
    live: bool


class SkillDetail(SkillSummary):
    """A skill with everything but its content."""

    version: str | None
    tags: list[str]
    triggers: list[str]
    tokens: dict[str, int]
    problems: list[SkillProblem]
    versions: list[PastVersion]


@router.get("")
async def list_skills(
    parts: WithParts,
    catalogue: Annotated[str | None, Query(max_length=300)] = None,
    after: Annotated[str | None, Query(max_length=100, description="`next` of a page")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> SkillPage:
    """Live skills by id, a page at a time."""
    async with read(parts.engine) as connection:
        if catalogue is not None and not await store.catalogue_exists(connection, catalogue):
            raise NotFoundError(f"There is no catalogue {catalogue!r}.")
        found = await store.list_skills(connection, catalogue, after, limit + 1)
    page = found[:limit]
    cursor = page[-1].skill_id if len(found) > limit else None
    return SkillPage(skills=[SkillSummary(**_summary(version)) for version in page], next=cursor)


@router.get("/{skill_id}")
async def show_skill(skill_id: str, parts: WithParts) -> SkillDetail:
    """One skill: its live version, its problems, and its history."""
    version = await live_version(parts.engine, skill_id)
    async with read(parts.engine) as connection:
        history = await store.version_history(connection, skill_id)
    return SkillDetail(
        **_summary(version),
        version=version.declared_version,
        tags=list(version.tags),
        triggers=list(version.triggers),
        tokens={
            "routing": version.tokens.routing,
            "body": version.tokens.body,
            "files": version.tokens.files,
        },
        problems=[
            SkillProblem(code=p.code, severity=p.severity, detail=p.detail, line=p.line)
            for p in version.problems
        ],
        versions=[
            PastVersion(
                digest=past.digest,
                version=past.declared_version,
                published_at=past.published_at,
                live=past.live,
            )
            for past in history
        ],
    )


def _summary(version: SkillVersion) -> dict[str, Any]:
    return {
        "id": version.skill_id,
        "catalogue": version.catalogue,
        "path": version.path,
        "name": version.name,
        "description": version.description,
        "digest": version.digest,
        "licence": version.licence,
        "language": version.language,
        "trust": version.trust.name.lower(),
        "routable": version.routable,
    }
