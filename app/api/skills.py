"""Skills by id, their versions, content and files."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from app.api.dependencies import Parts, WithParts
from core import store
from core.db import read
from core.errors import NotFoundError
from core.types import SkillVersion

router = APIRouter(prefix="/v1/skills", tags=["skills"])

SKILL_FILE = "SKILL.MD"


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


class SkillFile(BaseModel):
    """A file of one version."""

    path: str
    size: int
    sha256: str


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
    version = await _live(parts, skill_id)
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


@router.get("/{skill_id}/content")
async def live_content(skill_id: str, parts: WithParts) -> Response:
    """The SKILL.md of the live version, byte for byte."""
    version = await _live(parts, skill_id)
    return await _content(parts, skill_id, version.digest)


@router.get("/{skill_id}/versions/{digest}/content")
async def version_content(skill_id: str, digest: str, parts: WithParts) -> Response:
    """The SKILL.md of one version, byte for byte."""
    return await _content(parts, skill_id, digest)


@router.get("/{skill_id}/versions/{digest}/files")
async def list_files(skill_id: str, digest: str, parts: WithParts) -> list[SkillFile]:
    """Every file of one version."""
    return [
        SkillFile(path=file.path, size=file.size, sha256=file.sha256.hex())
        for file in await _files(parts, skill_id, digest)
    ]


@router.get("/{skill_id}/versions/{digest}/files/{path:path}")
async def file_content(skill_id: str, digest: str, path: str, parts: WithParts) -> Response:
    """One file of one version, byte for byte."""
    await _files(parts, skill_id, digest)
    async with read(parts.engine) as connection:
        data = await store.file_bytes(connection, digest, path)
    if data is None:
        raise NotFoundError(f"Version {digest} of {skill_id} has no file {path!r}.")
    # Never a type that a browser would run: the content is untrusted.
    headers = {"X-Content-Type-Options": "nosniff", "Content-Disposition": "attachment"}
    return Response(data, media_type="application/octet-stream", headers=headers)


async def _live(parts: Parts, skill_id: str) -> SkillVersion:
    async with read(parts.engine) as connection:
        version = await store.live_skill(connection, skill_id)
    if version is None:
        raise NotFoundError(f"There is no skill {skill_id!r}, or it was withdrawn.")
    return version


async def _files(parts: Parts, skill_id: str, digest: str) -> list[store.StoredFile]:
    async with read(parts.engine) as connection:
        history = await store.version_history(connection, skill_id)
        if digest not in {past.digest for past in history}:
            raise NotFoundError(f"Skill {skill_id!r} has no version {digest!r}.")
        return await store.file_list(connection, digest)


async def _content(parts: Parts, skill_id: str, digest: str) -> Response:
    files = await _files(parts, skill_id, digest)
    path = next(file.path for file in files if file.path.upper() == SKILL_FILE)
    async with read(parts.engine) as connection:
        data = await store.file_bytes(connection, digest, path)
    headers = {"X-Content-Type-Options": "nosniff", "ETag": f'"{digest}"'}
    return Response(data, media_type="text/markdown; charset=utf-8", headers=headers)


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
