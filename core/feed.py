"""The feed: the ordered log of what changed in the catalogue.

Numbers come from one row that the publishing transaction locks, so they are committed in order
and without gaps: who has read up to `seq` has missed nothing below it. A plain sequence would
hand out numbers that commit out of order, and followers would skip rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from core.tables import feed, feed_head


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One publication or withdrawal."""

    seq: int
    skill_id: str
    row: int | None  # None: withdrawn
    replaced_row: int | None  # None: there was no live version before


async def hold(conn: AsyncConnection) -> None:
    """Wait for the publishers before us; whoever comes later waits for our commit.

    Every writer of the catalogue takes this lock before any other, so none can deadlock.
    """
    await conn.execute(select(feed_head.c.seq).with_for_update())


async def next_seq(conn: AsyncConnection, count: int) -> int:
    """The first of `count` (at least 1) consecutive numbers, ours once the transaction commits."""
    advance = update(feed_head).values(seq=feed_head.c.seq + count).returning(feed_head.c.seq)
    return int((await conn.execute(advance)).scalar_one()) - count + 1


async def head(conn: AsyncConnection) -> int:
    """The number of the last change; 0 for an empty feed."""
    return int((await conn.execute(select(feed_head.c.seq))).scalar_one())


async def changes_since(conn: AsyncConnection, seq: int, limit: int) -> list[Change]:
    """The first `limit` changes after `seq`, in order."""
    after = (
        select(feed.c.seq, feed.c.skill_id, feed.c.row, feed.c.replaced_row)
        .where(feed.c.seq > seq)
        .order_by(feed.c.seq)
        .limit(limit)
    )
    return [
        Change(seq=at, skill_id=skill, row=row, replaced_row=replaced)
        for at, skill, row, replaced in await conn.execute(after)
    ]
