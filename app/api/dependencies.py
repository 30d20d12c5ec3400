"""What the resources share: the process's parts, and the checks before a body is read.

They are async so that FastAPI calls them in place; a plain function costs a thread's round trip.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, HTTPException, Request
from sqlalchemy.ext.asyncio import AsyncEngine

from app.routing.follower import Follower
from app.routing.router import Router
from core.embedding import Embedder


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The long-lived objects of one serving process."""

    engine: AsyncEngine
    embedder: Embedder
    follower: Follower
    router: Router


async def parts(request: Request) -> Parts:
    """The process's parts, as `app.main` built them."""
    built: Parts = request.app.state.parts
    return built


async def json_only(request: Request) -> None:
    """Refuse with 415 a body that does not say it is JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, f"Send Content-Type: application/json, not {kind or 'none'!r}.")


WithParts = Annotated[Parts, Depends(parts)]
