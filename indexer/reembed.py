"""Bring a catalogue up to a changed encoder: embed what has no vector in its space."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Select, and_, func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from core.db import read, write
from core.embedding import Embedder
from core.tables import passages, skills, spaces, vectors
from core.types import Space
from indexer import catalog
from indexer.ingest import Report, embed_new

TEXTS_AT_ONCE = 1_024


async def embed_missing(
    engine: AsyncEngine,
    embedder: Embedder,
    report: Report,
    *,
    on_progress: Callable[[int, int], None],
) -> None:
    """Embed the live passages without a vector in the embedder's space; repeatable, resumable."""
    async with read(engine) as connection:
        hashes = _missing(embedder.space).with_only_columns(passages.c.text_hash).distinct()
        counted = select(func.count()).select_from(hashes.subquery())
        total = (await connection.execute(counted)).scalar_one()
    done = 0
    while done < total:
        async with read(engine) as connection:
            found = await connection.execute(_missing(embedder.space).limit(TEXTS_AT_ONCE))
            texts = dict(iter(found))
        if not texts:  # another process was faster
            return
        new = await embed_new(engine, embedder, texts, report)
        async with write(engine) as connection:
            await catalog.store_vectors(connection, new, embedder.space)
        done += len(texts)
        on_progress(done, total)


def _missing(space: Space) -> Select[bytes, str]:
    """Hash and text of the live passages whose text has no vector in the space."""
    of_space = select(spaces.c.id).where(spaces.c.name == space.id).scalar_subquery()
    in_space = and_(vectors.c.space_id == of_space, vectors.c.text_hash == passages.c.text_hash)
    live = skills.join(passages, passages.c.row == skills.c.live_row).outerjoin(vectors, in_space)
    texts = select(passages.c.text_hash, passages.c.text).select_from(live)
    return texts.where(vectors.c.text_hash.is_(None))
