"""POST /v1/explain: why a skill was or was not offered."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from app.api.dependencies import WithParts, json_only
from app.routing.explained import Explained, ExplainRequest

router = APIRouter(tags=["route"])


@router.post("/v1/explain", dependencies=[Depends(json_only)])
async def explain(request: ExplainRequest, parts: WithParts) -> Explained:
    """What each stage of a route saw of one skill; nothing is recorded."""
    return await parts.router.explain(request, parts.follower.snapshot)
