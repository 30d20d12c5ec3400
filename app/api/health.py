"""Liveness, readiness and metrics."""

from __future__ import annotations

import time

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from app.api.dependencies import WithParts
from core import store
from core.db import read
from core.errors import NotReadyError
from core.types import Filters

LONGEST_SILENCE_S = 10.0

router = APIRouter(tags=["health"])


class Alive(BaseModel):
    """The process answers."""

    status: str = "ok"


class Ready(BaseModel):
    """What the process serves from."""

    status: str = "ready"
    generation: str
    seq: int
    skills: int
    space: str


@router.get("/healthz")
async def healthz() -> Alive:
    """Whether the process answers at all."""
    return Alive()


@router.get("/readyz")
async def readyz(parts: WithParts) -> Ready:
    """Whether routes can be answered: the generation is loaded and the database answers."""
    silent_s = time.monotonic() - parts.follower.last_read
    if silent_s > LONGEST_SILENCE_S:
        raise NotReadyError(f"The feed of changes has not been read for {silent_s:.0f} s.")
    async with read(parts.engine) as connection:
        await store.count_live(connection)
    view = parts.follower.snapshot.view
    return Ready(
        generation=view.generation.id,
        seq=parts.follower.snapshot.seq,
        skills=view.count(Filters()),
        space=view.generation.space.id,
    )


@router.get("/metrics")
async def metrics() -> Response:
    """Prometheus metrics; docs/operations.md explains each."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
