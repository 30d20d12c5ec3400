"""POST /v1/route, and /route, which is the same."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from app.api.dependencies import WithParts, json_only
from app.routing.contract import RouteAnswer, RouteRequest

router = APIRouter(tags=["route"])


@router.post("/v1/route", dependencies=[Depends(json_only)])
@router.post("/route", dependencies=[Depends(json_only)], include_in_schema=False)
async def route(request: RouteRequest, parts: WithParts) -> RouteAnswer:
    """Which skills the task is worth loading, if any."""
    return await parts.router.route(request)
