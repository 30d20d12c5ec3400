"""Content of a skill: SKILL.md and files byte for byte, and text by level with what it costs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field

from app.api.dependencies import Parts, WithParts
from app.routing.content import Content, called, chapter, routing
from app.routing.contract import Level
from app.routing.live import live_version
from core import store
from core.db import read
from core.embedding import Embedder
from core.errors import NotFoundError
from core.skill_format import parse
from core.text import readable
from core.types import Section, SkillVersion

router = APIRouter(prefix="/v1/skills", tags=["skills"])


SKILL_FILE = "SKILL.MD"
MOST_NAMED = 30  # sections or files, in an error's detail

NOSNIFF = {"X-Content-Type-Options": "nosniff"}
MARKDOWN: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Text at the level; without `level` the SKILL.md byte for byte",
        "content": {"text/markdown": {"schema": {"type": "string"}}},
    }
}


class Wanted(BaseModel):
    """What is asked for of a version."""

    level: Level | None = Field(default=None, description="without it, SKILL.md byte for byte")
    section: str | None = Field(
        default=None,
        max_length=1_000,
        description='heading, for `level=section`; "" for the text before the first heading',
    )
    path: str | None = Field(
        default=None, max_length=1_024, description="file of the package, for `level=file`"
    )


class SkillSection(BaseModel):
    """A section of the body, and what it costs with its sub-sections."""

    heading: str
    level: int = Field(description="1 to 6; 0 for the text before the first heading")
    line: int = Field(description="in SKILL.md, from 1")
    tokens: int


class SkillContent(BaseModel):
    """The text of one version at one level, and what it costs."""

    id: str
    digest: str = Field(description="of the version")
    level: Level
    section: str | None = Field(description="heading of the section that `content` is")
    path: str | None = Field(description="of the file that `content` is")
    tokens: int = Field(description="what `content` costs, in the encoder's tokens")
    sha256: str = Field(description="hex digest of `content` as UTF-8")
    content: str
    sections: list[SkillSection] = Field(description="all of the body; empty for a file")


class SkillFile(BaseModel):
    """A file of one version."""

    path: str
    size: int
    sha256: str


@router.get("/{skill_id}/content", response_model=SkillContent, responses=MARKDOWN)
async def live_content(
    skill_id: str, wanted: Annotated[Wanted, Query()], parts: WithParts
) -> Response:
    """The SKILL.md of the live version, byte for byte, or its text at a level."""
    return await _content(parts, await live_version(parts.engine, skill_id), wanted)


@router.get(
    "/{skill_id}/versions/{digest}/content", response_model=SkillContent, responses=MARKDOWN
)
async def version_content(
    skill_id: str, digest: str, wanted: Annotated[Wanted, Query()], parts: WithParts
) -> Response:
    """The SKILL.md of one version, byte for byte, or its text at a level."""
    return await _content(parts, await _version(parts, skill_id, digest), wanted)


@router.get("/{skill_id}/versions/{digest}/files")
async def list_files(skill_id: str, digest: str, parts: WithParts) -> list[SkillFile]:
    """Every file of one version."""
    return [
        SkillFile(path=file.path, size=file.size, sha256=file.sha256.hex())
        for file in await _files(parts, await _version(parts, skill_id, digest))
    ]


@router.get("/{skill_id}/versions/{digest}/files/{path:path}")
async def file_content(skill_id: str, digest: str, path: str, parts: WithParts) -> Response:
    """One file of one version, byte for byte."""
    data = await _bytes(parts, await _version(parts, skill_id, digest), path)
    # Never a type that a browser would run: the content is untrusted.
    headers = {**NOSNIFF, "Content-Disposition": "attachment"}
    return Response(data, media_type="application/octet-stream", headers=headers)


async def _content(parts: Parts, version: SkillVersion, wanted: Wanted) -> Response:
    match wanted.level:
        case None:
            headers = {**NOSNIFF, "ETag": f'"{version.digest}"'}
            data = await _skill_file(parts, version)
            return Response(data, media_type="text/markdown; charset=utf-8", headers=headers)
        case "file":
            content = await _of_file(parts, version, wanted.path)
        case level:
            data = await _skill_file(parts, version)
            content = await asyncio.to_thread(
                _of_body, version, data, level, wanted.section, parts.embedder
            )
    return Response(content.model_dump_json(), media_type="application/json", headers=NOSNIFF)


def _of_body(
    version: SkillVersion, data: bytes, level: Level, heading: str | None, embedder: Embedder
) -> SkillContent:
    """The text at a level of what a SKILL.md's bytes say, with what every section costs."""
    sections = parse(data, fallback_name=version.name).sections
    found, text = _text(version, sections, level, heading)
    chapters = [chapter(sections, place) for place in range(len(sections))]
    tokens, *costs = embedder.count_tokens([text, *chapters])
    content = Content(level=level, text=text, tokens=tokens, section=found)
    return _told(version, content, sections=_priced(sections, costs))


def _text(
    version: SkillVersion, sections: Sequence[Section], level: Level, heading: str | None
) -> tuple[str | None, str]:
    """Heading, where the text is a section, and text."""
    match level:
        case "section":
            place = _place(version, sections, heading)
            return sections[place].heading, chapter(sections, place)
        case "body":
            return None, version.body
        case _:
            return None, routing(version)


async def _of_file(parts: Parts, version: SkillVersion, path: str | None) -> SkillContent:
    names = [file.path for file in await _files(parts, version)]
    if path is None:
        raise _refused("path", f"Say which file to send. {_named('files', names)}")
    if path not in names:
        raise NotFoundError(f"{version.name} has no file {path!r}. {_named('files', names)}")
    text = readable(await _bytes(parts, version, path))
    if text is None:
        place = f"/v1/skills/{version.skill_id}/versions/{version.digest}/files/{path}"
        raise _refused("path", f"{path!r} is not UTF-8 text; get its bytes from {place}")
    (tokens,) = await asyncio.to_thread(parts.embedder.count_tokens, [text])
    return _told(version, Content(level="file", text=text, tokens=tokens), path=path)


def _place(version: SkillVersion, sections: Sequence[Section], heading: str | None) -> int:
    there = _named("sections", [section.heading for section in sections])
    if heading is None:
        raise _refused("section", f"Say which section to send, by its heading. {there}")
    place = called(sections, heading)
    if place is None:
        raise NotFoundError(f"{version.name} has no section {heading!r}. {there}")
    return place


def _named(kind: str, names: Sequence[str]) -> str:
    """What there is, as the end of an error's detail."""
    shown = ", ".join(repr(name) for name in names[:MOST_NAMED])
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"Its {kind}: {shown or 'none'}{more}."


def _refused(parameter: str, reason: str) -> RequestValidationError:
    """What FastAPI itself raises for a wrong parameter, so that it is answered alike."""
    return RequestValidationError([{"loc": ("query", parameter), "msg": reason, "type": "value"}])


def _priced(sections: Sequence[Section], tokens: Sequence[int]) -> list[SkillSection]:
    return [
        SkillSection(heading=each.heading, level=each.level, line=each.line, tokens=cost)
        for each, cost in zip(sections, tokens, strict=True)
    ]


def _told(
    version: SkillVersion,
    content: Content,
    *,
    path: str | None = None,
    sections: Sequence[SkillSection] = (),
) -> SkillContent:
    return SkillContent(
        id=version.skill_id,
        digest=version.digest,
        level=content.level,
        section=content.section,
        path=path,
        tokens=content.tokens,
        sha256=content.sha256,
        content=content.text,
        sections=list(sections),
    )


async def _version(parts: Parts, skill_id: str, digest: str) -> SkillVersion:
    async with read(parts.engine) as connection:
        history = await store.version_history(connection, skill_id)
        row = next((past.row for past in history if past.digest == digest), None)
        if row is None:
            raise NotFoundError(f"Skill {skill_id!r} has no version {digest!r}.")
        return (await store.versions(connection, [row]))[row]


async def _files(parts: Parts, version: SkillVersion) -> list[store.StoredFile]:
    async with read(parts.engine) as connection:
        return await store.file_list(connection, version.digest)


async def _bytes(parts: Parts, version: SkillVersion, path: str) -> bytes:
    async with read(parts.engine) as connection:
        data = await store.file_bytes(connection, version.digest, path)
    if data is None:
        raise NotFoundError(f"Version {version.digest} of {version.skill_id} has no file {path!r}.")
    return data


async def _skill_file(parts: Parts, version: SkillVersion) -> bytes:
    paths = [file.path for file in await _files(parts, version)]
    return await _bytes(parts, version, next(p for p in paths if p.upper() == SKILL_FILE))
