"""The catalogue's writes: each a single transaction, each harmless when repeated."""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Table, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from core import feed, store, tables
from core.db import chunks, write
from core.errors import SpaceMismatchError
from core.types import (
    Passage,
    SkillDraft,
    Space,
    TokenCounts,
    Trust,
    skill_id,
    text_hash,
)

Values = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedSkill:
    """A version that is ready to be published once its passages have vectors."""

    catalogue: str
    path: str
    digest: str
    derivation: str  # the parser's version and what the source said: other than the bytes
    files: Mapping[str, bytes]
    draft: SkillDraft
    licence: str | None
    language: str
    trust: Trust
    tokens: TokenCounts
    signature: NDArray[np.uint32]
    passages: tuple[Passage, ...]

    @property
    def skill_id(self) -> str:
        """The identity of its place."""
        return skill_id(self.catalogue, self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishResult:
    """What a publication changed; the numbers are None where it changed nothing."""

    published: int
    unchanged: int
    first_seq: int | None
    last_seq: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRecord:
    """A built generation, as the database knows it."""

    id: str
    space: str  # Space.id
    seq: int  # the feed's head when it was built
    row_count: int
    checksum: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class _Live:
    row: int | None = None  # None: withdrawn or not known at all
    identity: tuple[Any, ...] = ()


async def publish(
    engine: AsyncEngine,
    prepared: Sequence[PreparedSkill],
    vectors: Mapping[bytes, NDArray[np.float16]],
    space: Space,
) -> PublishResult:
    """Make these versions the live ones, all or none, each change with its feed row.

    `vectors` holds the new ones by text hash, shape (space.dimension,); the others are stored
    already. A skill that is live just so is left alone; of two for one place the last counts.

    Raises SpaceMismatchError where a passage would go live without its vector.
    """
    newest = {skill.skill_id: skill for skill in prepared}
    contents = await asyncio.to_thread(_blob_values, newest.values())
    async with write(engine) as conn:
        await store_vectors(conn, vectors, space)
        await _check_vectors(conn, newest.values(), space)
        live = await _live(conn, newest)
        changed = [skill for key, skill in newest.items() if live[key].identity != _identity(skill)]
        unchanged = len(newest) - len(changed)
        if not changed:
            return PublishResult(published=0, unchanged=unchanged, first_seq=None, last_seq=None)
        first = await feed.next_seq(conn, len(changed))
        await _insert_new(conn, tables.blobs, contents)
        await _store_files(conn, changed)
        await _store_versions(conn, changed, first)
        changes = [
            (skill.skill_id, row, live[skill.skill_id].row)
            for row, skill in enumerate(changed, first)
        ]
        await _append_feed(conn, first, changes)
    return PublishResult(
        published=len(changed),
        unchanged=unchanged,
        first_seq=first,
        last_seq=first + len(changed) - 1,
    )


async def withdraw(engine: AsyncEngine, skill_ids: Collection[str]) -> int:
    """Take skills out of routing, their history kept; counts those that were live."""
    async with write(engine) as conn:
        await feed.hold(conn)
        live = await _live(conn, skill_ids)
        rows = [(key, found.row) for key, found in live.items() if found.row is not None]
        if not rows:
            return 0
        for chunk in chunks([key for key, _ in rows]):
            withdrawn = update(tables.skills).where(tables.skills.c.id.in_(chunk))
            await conn.execute(withdrawn.values(live_row=None))
        first = await feed.next_seq(conn, len(rows))
        await _append_feed(conn, first, [(key, None, row) for key, row in rows])
    return len(rows)


async def known_hashes(
    conn: AsyncConnection, space: Space, hashes: Collection[bytes]
) -> set[bytes]:
    """Those text hashes that have a vector in the space."""
    known: set[bytes] = set()
    for chunk in chunks(list(hashes)):
        stored = select(tables.vectors.c.text_hash).join(tables.spaces)
        stored = stored.where(tables.spaces.c.name == space.id)
        known.update(await conn.scalars(stored.where(tables.vectors.c.text_hash.in_(chunk))))
    return known


async def store_vectors(
    conn: AsyncConnection, new: Mapping[bytes, NDArray[np.float16]], space: Space
) -> None:
    """Add vectors by text hash, each of shape (space.dimension,); those stored already stay.

    Raises SpaceMismatchError for a vector of another length.
    """
    if any(vector.shape != (space.dimension,) for vector in new.values()):
        raise SpaceMismatchError(f"A vector is not of space {space.id}: {space.dimension} numbers.")
    await feed.hold(conn)
    await _insert_new(conn, tables.spaces, [{"name": space.id, "description": space.describe()}])
    named = select(tables.spaces.c.id).where(tables.spaces.c.name == space.id)
    space_id = await conn.scalar(named)
    values: Values = [
        {"space_id": space_id, "text_hash": key, "data": vector.astype("<f2").tobytes()}
        for key, vector in new.items()
    ]
    await _insert_new(conn, tables.vectors, values)


async def record_generation(engine: AsyncEngine, generation: GenerationRecord) -> None:
    """Put a built generation in force for its space."""
    pointer = {"name": store.generation_pointer(generation.space), "value": generation.id}
    async with write(engine) as conn:
        await _insert_new(conn, tables.generations, [asdict(generation)])
        flip = _insert(conn, tables.pointers)
        flip = flip.on_conflict_do_update(
            index_elements=["name"], set_={"value": flip.excluded.value}
        )
        await conn.execute(flip, pointer)


def _identity(skill: PreparedSkill) -> tuple[Any, ...]:
    return (
        skill.digest,
        skill.derivation,
        skill.licence,
        skill.language,
        skill.trust,
        skill.draft.tags,
    )


async def _live(conn: AsyncConnection, skill_ids: Collection[str]) -> dict[str, _Live]:
    """What is live of each skill."""
    rows, skills = tables.skill_rows.c, tables.skills.c
    joined = tables.skills.outerjoin(tables.skill_rows, rows.row == skills.live_row)
    stored = select(
        skills.id,
        skills.live_row,
        rows.digest,
        rows.derivation,
        rows.licence,
        rows.language,
        rows.trust,
        rows.tags,
    ).select_from(joined)
    found = dict.fromkeys(skill_ids, _Live())
    for chunk in chunks(list(skill_ids)):
        for key, row, *identity, tags in await conn.execute(stored.where(skills.id.in_(chunk))):
            found[key] = _Live(row, (*identity, tuple(tags or ())))
    return found


async def _check_vectors(
    conn: AsyncConnection, prepared: Collection[PreparedSkill], space: Space
) -> None:
    needed = {text_hash(passage.text) for skill in prepared for passage in skill.passages}
    missing = needed - await known_hashes(conn, space, needed)
    if missing:
        raise SpaceMismatchError(
            f"{len(missing)} passages have no vector in space {space.id}; nothing was published."
        )


def _blob_values(prepared: Iterable[PreparedSkill]) -> Values:
    contents = {data for skill in prepared for data in skill.files.values()}
    return [
        {
            "sha256": hashlib.sha256(data).digest(),
            "size": len(data),
            "data": zlib.compress(data, level=1),
        }
        for data in contents
    ]


async def _store_files(conn: AsyncConnection, changed: Sequence[PreparedSkill]) -> None:
    await _insert_new(
        conn,
        tables.files,
        [
            {
                "digest": skill.digest,
                "path": path,
                "sha256": hashlib.sha256(data).digest(),
                "size": len(data),
            }
            for skill in changed
            for path, data in skill.files.items()
        ],
    )


async def _store_versions(
    conn: AsyncConnection, changed: Sequence[PreparedSkill], first_row: int
) -> None:
    """Their rows, numbered from `first_row`, and each skill's pointer to its own."""
    now = datetime.now(UTC)
    catalogue_ids = await _catalogue_ids(conn, {skill.catalogue for skill in changed}, now)
    numbered = list(enumerate(changed, first_row))
    flip = _insert(conn, tables.skills)
    flip = flip.on_conflict_do_update(
        index_elements=["id"], set_={"live_row": flip.excluded.live_row}
    )
    await conn.execute(
        flip,
        [
            {
                "id": skill.skill_id,
                "catalogue_id": catalogue_ids[skill.catalogue],
                "path": skill.path,
                "live_row": row,
            }
            for row, skill in numbered
        ],
    )
    await conn.execute(
        insert(tables.skill_rows), [_row_values(row, skill, now) for row, skill in numbered]
    )
    spoken = [
        {
            "row": row,
            "ordinal": ordinal,
            "kind": passage.kind,
            "section": passage.section,
            "line": passage.line,
            "text": passage.text,
            "text_hash": text_hash(passage.text),
        }
        for row, skill in numbered
        for ordinal, passage in enumerate(skill.passages)
    ]
    if spoken:
        await conn.execute(insert(tables.passages), spoken)


async def _catalogue_ids(conn: AsyncConnection, names: set[str], now: datetime) -> dict[str, int]:
    """Ids by name, of new catalogues too."""
    await _insert_new(
        conn, tables.catalogues, [{"name": name, "created_at": now} for name in sorted(names)]
    )
    ids: dict[str, int] = {}
    for chunk in chunks(sorted(names)):
        stored = select(tables.catalogues.c.name, tables.catalogues.c.id)
        for name, number in await conn.execute(stored.where(tables.catalogues.c.name.in_(chunk))):
            ids[name] = number
    return ids


def _row_values(row: int, skill: PreparedSkill, now: datetime) -> dict[str, Any]:
    draft = skill.draft
    return {
        "row": row,
        "skill_id": skill.skill_id,
        "digest": skill.digest,
        "declared_version": _declared_version(draft.frontmatter),
        "name": draft.name,
        "description": draft.description,
        "triggers": draft.triggers,
        "body": draft.body,
        "licence": skill.licence,
        "language": skill.language,
        "tags": draft.tags,
        "trust": skill.trust,
        "routable": draft.routable,
        "frontmatter": dict(draft.frontmatter),
        "problems": [asdict(problem) for problem in draft.problems],
        "tokens_routing": skill.tokens.routing,
        "tokens_body": skill.tokens.body,
        "tokens_files": skill.tokens.files,
        "signature": skill.signature.astype("<u4").tobytes(),
        "derivation": skill.derivation,
        "published_at": now,
    }


def _declared_version(frontmatter: Mapping[str, Any]) -> str | None:
    """The specification keeps it under `metadata`; many skills have it at the top."""
    metadata = frontmatter.get("metadata")
    nested = metadata.get("version") if isinstance(metadata, Mapping) else None
    declared = frontmatter.get("version", nested)
    return str(declared) if isinstance(declared, str | int | float) else None


async def _append_feed(
    conn: AsyncConnection, first_seq: int, changes: Sequence[tuple[str, int | None, int | None]]
) -> None:
    """Feed rows of (skill id, new row, replaced row), numbered from `first_seq`."""
    now = datetime.now(UTC)
    await conn.execute(
        insert(tables.feed),
        [
            {"seq": seq, "skill_id": key, "row": row, "replaced_row": replaced, "at": now}
            for seq, (key, row, replaced) in enumerate(changes, first_seq)
        ],
    )


async def _insert_new(conn: AsyncConnection, table: Table, values: Values) -> None:
    """Insert the rows whose key is not there yet."""
    if values:
        await conn.execute(_insert(conn, table).on_conflict_do_nothing(), values)


def _insert(conn: AsyncConnection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that takes ON CONFLICT; the two dialects share the words but not the class."""
    return sqlite.insert(table) if conn.dialect.name == "sqlite" else postgresql.insert(table)
