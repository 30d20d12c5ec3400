"""What a route looks up of single skills in the catalogue."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy.ext.asyncio import AsyncEngine

from app.routing.tools import lacks, servers
from core import store
from core.db import read
from core.errors import NotFoundError
from core.types import SkillVersion


async def live_version(engine: AsyncEngine, skill_id: str) -> SkillVersion:
    """The live version of a skill. Raises NotFoundError."""
    async with read(engine) as connection:
        version = await store.live_skill(connection, skill_id)
    if version is None:
        raise NotFoundError(f"There is no skill {skill_id!r}, or it was withdrawn.")
    return version


async def lacking_tools(
    engine: AsyncEngine, rows: Sequence[int], tools: Collection[str]
) -> frozenset[int]:
    """Those of the rows whose skills need an MCP server that is not among an agent's tools."""
    if not tools:
        return frozenset()
    async with read(engine) as connection:
        said = await store.frontmatters(connection, rows)
    return frozenset(row for row in rows if lacks(servers(said[row]), tools))
