"""Build the next generation aside, then flip one pointer to it."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine

from core import feed, store
from core.background import BACKGROUND_QUERIES
from core.db import read
from core.embedding import Embedder
from core.errors import GenerationDamagedError, SpaceMismatchError
from core.retrieval.generation import Generation, build
from core.types import IndexRow
from indexer import catalog
from indexer.catalog import GenerationRecord
from indexer.settings import IndexerSettings

OnRows = Callable[[int, int], None]


async def rebuild_if_due(
    engine: AsyncEngine,
    embedder: Embedder,
    settings: IndexerSettings,
    *,
    force: bool,
    on_progress: OnRows,
) -> str:
    """The id of the generation in force: a new one where that is due.

    It is due when there is none for the embedder's space, when its folder is gone or torn, when
    `rebuild_after` changes came since, or when `force` says so.
    """
    async with read(engine) as connection:
        current = await store.current_generation(connection, embedder.space.id)
        head = await feed.head(connection)
    if current is not None and not force:
        loaded = await asyncio.to_thread(_intact, settings.generations_dir / current, embedder)
        if loaded is not None and head - loaded.seq < settings.rebuild_after:
            return current
    return await rebuild(engine, embedder, settings, on_progress=on_progress)


def _intact(folder: Path, embedder: Embedder) -> Generation | None:
    """The generation in `folder`, or None where it is torn, gone or of another space."""
    try:
        return Generation.load(folder, embedder.space)
    except (GenerationDamagedError, SpaceMismatchError):
        return None


async def rebuild(
    engine: AsyncEngine, embedder: Embedder, settings: IndexerSettings, *, on_progress: OnRows
) -> str:
    """Build a generation of everything live, make it the current one, and remove old ones.

    Readers keep the old one until they have loaded the new. A build that is killed leaves a
    folder that nothing points to; the next build removes it.
    """
    queries = await asyncio.to_thread(embedder.embed, BACKGROUND_QUERIES)
    async with read(engine) as connection:
        # Changes after this number may be in the rows too: whoever follows from it sees them
        # again, which changes nothing.
        seq = await feed.head(connection)
        total = await store.count_live(connection)
        name = f"{seq:012d}-{uuid.uuid4().hex[:8]}"

        async def batches() -> AsyncIterator[list[IndexRow]]:
            done = 0
            async for rows in store.stream_live_rows(connection, embedder.space):
                yield rows
                done += len(rows)
                on_progress(done, total)

        settings.generations_dir.mkdir(parents=True, exist_ok=True)
        manifest = await build(
            settings.generations_dir / name,
            id=name,
            space=embedder.space,
            seq=seq,
            batches=batches(),
            background_queries=queries,
        )
    record = GenerationRecord(
        id=name,
        space=embedder.space.id,
        seq=seq,
        row_count=manifest.rows,
        checksum=hashlib.sha256(manifest.to_json().encode()).hexdigest(),
        created_at=datetime.now(UTC),
    )
    await catalog.record_generation(engine, record)
    await asyncio.to_thread(_remove_old, settings.generations_dir, settings.keep_generations)
    return name


def _remove_old(generations: Path, keep: int) -> None:
    """Keep the newest `keep` folders: their names sort by feed number."""
    for folder in sorted(entry for entry in generations.iterdir() if entry.is_dir())[:-keep]:
        shutil.rmtree(folder, ignore_errors=True)
