"""The live version of a skill, by its id."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncEngine

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
