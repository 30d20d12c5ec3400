"""The catalogue's reads: what is live, what was, and what the index is built from."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

import numpy as np
from sqlalchemy import Row, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from core.db import chunks
from core.errors import SpaceMismatchError
from core.tables import (
    blobs,
    catalogues,
    files,
    passages,
    pointers,
    skill_rows,
    skills,
    spaces,
    vectors,
)
from core.types import (
    IndexedPassage,
    IndexRow,
    Passage,
    PassageKind,
    Problem,
    Severity,
    SkillVersion,
    Space,
    TokenCounts,
    Trust,
)

STREAM_ROWS = 1_000  # about 10 MB of bodies and vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """A named set of skills from one source."""

    name: str
    skills: int  # live ones
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PastVersion:
    """One publication in a skill's history."""

    row: int
    digest: str
    declared_version: str | None
    published_at: datetime
    live: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file of one version."""

    path: str
    size: int  # bytes
    sha256: bytes


_PLACED_ROWS = skill_rows.join(skills, skills.c.id == skill_rows.c.skill_id).join(catalogues)

_FOR_INDEX = select(
    skill_rows.c.row,
    skill_rows.c.skill_id,
    catalogues.c.name.label("catalogue"),
    skill_rows.c.name,
    skill_rows.c.description,
    skill_rows.c.triggers,
    skill_rows.c.body,
    skill_rows.c.licence,
    skill_rows.c.language,
    skill_rows.c.tags,
    skill_rows.c.trust,
    skill_rows.c.routable,
).select_from(_PLACED_ROWS)

# With a line for each passage: a second statement would cost a route another millisecond.
_FOR_ANSWER = select(
    catalogues.c.name.label("catalogue"),
    skills.c.path,
    *(column for column in skill_rows.c if column.name not in ("frontmatter", "published_at")),
    passages.c.kind,
    passages.c.section,
    passages.c.line,
    passages.c.text,
).select_from(_PLACED_ROWS.outerjoin(passages, passages.c.row == skill_rows.c.row))


async def index_rows(conn: AsyncConnection, rows: Collection[int], space: Space) -> list[IndexRow]:
    """These rows in ascending order with their vectors; a row that never was is left out.

    Raises SpaceMismatchError where a passage has no vector in `space`.
    """
    indexed = await _passages_by_row(conn, rows, space)
    found: list[IndexRow] = []
    for chunk in chunks(sorted(set(rows))):
        asked = _FOR_INDEX.where(skill_rows.c.row.in_(chunk)).order_by(skill_rows.c.row)
        found += [_index_row(stored, indexed[stored.row]) for stored in await conn.execute(asked)]
    return found


async def stream_live_rows(
    conn: AsyncConnection, space: Space, batch: int = STREAM_ROWS
) -> AsyncIterator[list[IndexRow]]:
    """Every live row in ascending order, `batch` at a time; holds one batch in memory.

    Raises SpaceMismatchError where a passage has no vector in `space`.
    """
    after = 0
    while True:
        page = select(skills.c.live_row).where(skills.c.live_row > after)
        page = page.order_by(skills.c.live_row).limit(batch)
        rows = (await conn.execute(page)).scalars().all()
        if not rows:
            return
        yield await index_rows(conn, rows, space)
        after = rows[-1]


async def versions(conn: AsyncConnection, rows: Collection[int]) -> dict[int, SkillVersion]:
    """Stored versions by row, live or not; a row that never was is left out."""
    found: dict[int, SkillVersion] = {}
    for chunk in chunks(sorted(set(rows))):
        asked = _FOR_ANSWER.where(skill_rows.c.row.in_(chunk))
        lines = await conn.execute(asked.order_by(skill_rows.c.row, passages.c.ordinal))
        for row, of_row in groupby(lines, key=lambda line: line.row):
            found[row] = _version(list(of_row))
    return found


async def frontmatters(conn: AsyncConnection, rows: Collection[int]) -> dict[int, dict[str, Any]]:
    """What the SKILL.md of each row says in its frontmatter; a row that never was is left out."""
    found: dict[int, dict[str, Any]] = {}
    for chunk in chunks(sorted(set(rows))):
        asked = select(skill_rows.c.row, skill_rows.c.frontmatter)
        lines = (await conn.execute(asked.where(skill_rows.c.row.in_(chunk)))).all()
        found.update((line.row, line.frontmatter) for line in lines)
    return found


async def live_skill(conn: AsyncConnection, skill: str) -> SkillVersion | None:
    """The live version of a skill; None where it is unknown or withdrawn."""
    row = await conn.scalar(select(skills.c.live_row).where(skills.c.id == skill))
    return None if row is None else (await versions(conn, [row]))[row]


async def list_skills(
    conn: AsyncConnection, catalogue: str | None, after: str | None, limit: int
) -> list[SkillVersion]:
    """Live skills by id, at most `limit`, those past the skill `after` if one is given."""
    page = select(skills.c.live_row).where(skills.c.live_row.is_not(None))
    if catalogue is not None:
        page = page.join(catalogues).where(catalogues.c.name == catalogue)
    if after is not None:
        page = page.where(skills.c.id > after)
    rows = (await conn.execute(page.order_by(skills.c.id).limit(limit))).scalars().all()
    found = await versions(conn, [row for row in rows if row is not None])
    return sorted(found.values(), key=lambda version: version.skill_id)


async def count_live(conn: AsyncConnection) -> int:
    """How many skills are live."""
    live = select(func.count()).select_from(skills).where(skills.c.live_row.is_not(None))
    return int((await conn.execute(live)).scalar_one())


async def list_catalogues(conn: AsyncConnection) -> list[Catalogue]:
    """Every catalogue by name, those without a live skill too."""
    counted = (
        select(
            catalogues.c.name,
            func.count(skills.c.live_row),
            catalogues.c.created_at,
        )
        .outerjoin(skills)
        .group_by(catalogues.c.id)
    )
    found = [
        Catalogue(name=name, skills=count, created_at=created_at)
        for name, count, created_at in await conn.execute(counted)
    ]
    return sorted(found, key=lambda catalogue: catalogue.name)


async def catalogue_exists(conn: AsyncConnection, name: str) -> bool:
    """Whether a catalogue of this name was ever published to."""
    found = await conn.scalar(select(catalogues.c.id).where(catalogues.c.name == name))
    return found is not None


async def live_derivations(conn: AsyncConnection) -> dict[tuple[str, str], tuple[str, str]]:
    """Digest and derivation of every live skill, by catalogue and path."""
    live = (
        select(catalogues.c.name, skills.c.path, skill_rows.c.digest, skill_rows.c.derivation)
        .select_from(skills)
        .join(catalogues)
        .join(skill_rows, skill_rows.c.row == skills.c.live_row)
    )
    return {
        (catalogue, path): (digest, derivation)
        for catalogue, path, digest, derivation in await conn.execute(live)
    }


async def version_history(conn: AsyncConnection, skill: str) -> list[PastVersion]:
    """Every publication of a skill, newest first; a withdrawal leaves none of them live."""
    history = (
        select(
            skill_rows.c.row,
            skill_rows.c.digest,
            skill_rows.c.declared_version,
            skill_rows.c.published_at,
            skills.c.live_row,
        )
        .join(skills, skills.c.id == skill_rows.c.skill_id)
        .where(skill_rows.c.skill_id == skill)
        .order_by(skill_rows.c.row.desc())
    )
    return [
        PastVersion(
            row=row,
            digest=digest,
            declared_version=declared,
            published_at=published_at,
            live=row == live_row,
        )
        for row, digest, declared, published_at, live_row in await conn.execute(history)
    ]


async def file_list(conn: AsyncConnection, digest: str) -> list[StoredFile]:
    """The files of a version by path; empty for an unknown digest."""
    named = select(files.c.path, files.c.size, files.c.sha256).where(files.c.digest == digest)
    found = [
        StoredFile(path=path, size=size, sha256=sha256)
        for path, size, sha256 in await conn.execute(named)
    ]
    return sorted(found, key=lambda file: file.path)


async def file_bytes(conn: AsyncConnection, digest: str, path: str) -> bytes | None:
    """One file of a version, byte for byte; None where there is no such file."""
    stored = select(blobs.c.data).join(files, files.c.sha256 == blobs.c.sha256)
    data = await conn.scalar(stored.where(files.c.digest == digest, files.c.path == path))
    return None if data is None else zlib.decompress(data)


async def current_generation(conn: AsyncConnection, space: str) -> str | None:
    """The id of the generation in force for a space id; None before the first."""
    pointer = select(pointers.c.value).where(pointers.c.name == generation_pointer(space))
    return await conn.scalar(pointer)


def generation_pointer(space: str) -> str:
    """The name of the pointer to the generation in force for a space id."""
    return f"generation:{space}"


async def _passages_by_row(
    conn: AsyncConnection, rows: Collection[int], space: Space
) -> dict[int, list[IndexedPassage]]:
    space_row = await conn.scalar(select(spaces.c.id).where(spaces.c.name == space.id))
    in_space = and_(vectors.c.space_id == space_row, vectors.c.text_hash == passages.c.text_hash)
    embedded = select(passages.c.row, passages.c.section, vectors.c.data).select_from(
        passages.outerjoin(vectors, in_space)
    )
    found: dict[int, list[IndexedPassage]] = defaultdict(list)
    missing = 0
    for chunk in chunks(sorted(set(rows))):
        asked = embedded.where(passages.c.row.in_(chunk))
        asked = asked.order_by(passages.c.row, passages.c.ordinal)
        for row, section, data in await conn.execute(asked):
            if data is None:
                missing += 1
            else:
                vector = np.frombuffer(data, dtype="<f2")
                found[row].append(IndexedPassage(section=section, vector=vector))
    if missing:
        raise SpaceMismatchError(
            f"{missing} passages have no vector in space {space.id}. Run `loadstar index` with "
            "this encoder over the same sources, or choose the encoder they were indexed with."
        )
    return found


def _index_row(stored: Row[*tuple[Any, ...]], indexed: Sequence[IndexedPassage]) -> IndexRow:
    return IndexRow(
        row=stored.row,
        skill_id=stored.skill_id,
        catalogue=stored.catalogue,
        name=stored.name,
        description=stored.description,
        triggers=tuple(stored.triggers),
        body=stored.body,
        licence=stored.licence,
        language=stored.language,
        tags=tuple(stored.tags),
        trust=Trust(stored.trust),
        routable=stored.routable,
        passages=tuple(indexed),
    )


def _version(lines: Sequence[Row[*tuple[Any, ...]]]) -> SkillVersion:
    """The version whose passages these lines hold, one each; one line if it has none."""
    stored = lines[0]
    return SkillVersion(
        row=stored.row,
        skill_id=stored.skill_id,
        catalogue=stored.catalogue,
        path=stored.path,
        digest=stored.digest,
        declared_version=stored.declared_version,
        name=stored.name,
        description=stored.description,
        triggers=tuple(stored.triggers),
        body=stored.body,
        licence=stored.licence,
        language=stored.language,
        tags=tuple(stored.tags),
        trust=Trust(stored.trust),
        routable=stored.routable,
        tokens=TokenCounts(
            routing=stored.tokens_routing, body=stored.tokens_body, files=stored.tokens_files
        ),
        signature=np.frombuffer(stored.signature, dtype="<u4"),
        passages=tuple(
            Passage(
                kind=PassageKind(line.kind), section=line.section, line=line.line, text=line.text
            )
            for line in lines
            if line.kind is not None
        ),
        problems=tuple(
            Problem(**problem | {"severity": Severity(problem["severity"])})
            for problem in stored.problems
        ),
    )
