"""The catalogues and their sizes."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from app.api.dependencies import WithParts
from core import store
from core.db import read

router = APIRouter(prefix="/v1/catalogues", tags=["catalogues"])


class CatalogueSummary(BaseModel):
    """A named set of skills from one source."""

    name: str
    skills: int


@router.get("")
async def list_catalogues(parts: WithParts) -> list[CatalogueSummary]:
    """Every catalogue, by name, with the number of its live skills."""
    async with read(parts.engine) as connection:
        found = await store.list_catalogues(connection)
    return [CatalogueSummary(name=catalogue.name, skills=catalogue.skills) for catalogue in found]
