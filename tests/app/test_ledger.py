"""The ledger: what is kept, for how long, and what happens when it cannot commit."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncEngine

from app.routing.ledger import Keep, Ledger
from core.db import ledger_url, open_database, read
from core.tables import routes

TASK = "merge the contracts"


def values(route_id: str, at: datetime | None = None) -> dict[str, Any]:
    return {
        "route_id": route_id,
        "at": at or datetime.now(UTC),
        "request": {},
        "decision": "none",
        "reason": "nothing_near",
        "confidence": 0.1,
        "calibration": "uncalibrated",
        "scored_by": "overlap",
        "skills": [],
        "not_loaded": [],
        "policy": "p",
        "models": {},
        "generation": "g",
        "seq": 0,
        "timings": {},
    }


@asynccontextmanager
async def ledger(
    database_url: str, keep: Keep = "text", *, days: int = 0, timeout_s: float = 5
) -> AsyncIterator[tuple[Ledger, AsyncEngine]]:
    engine = await open_database(ledger_url(database_url), create=False)
    opened = Ledger(engine, keep=keep, days=days, timeout_s=timeout_s)
    await opened.start()
    try:
        yield opened, engine
    finally:
        await opened.stop()
        await engine.dispose()


async def stored(engine: AsyncEngine) -> list[Row[Any]]:
    async with read(engine) as connection:
        return list(await connection.execute(select(routes).order_by(routes.c.route_id)))


async def test_routes_recorded_together_are_all_there(database_url: str) -> None:
    async with ledger(database_url) as (opened, engine):
        recorded = await asyncio.gather(
            *(opened.record(TASK, values(f"r{i:03}")) for i in range(50))
        )
        assert all(recorded)
        assert [row.route_id for row in await stored(engine)] == [f"r{i:03}" for i in range(50)]


@pytest.mark.parametrize(
    ("keep", "text", "hashed"),
    [("text", True, True), ("hash", False, True), ("nothing", False, False)],
)
async def test_a_task_is_kept_as_the_operator_says(
    database_url: str, keep: Keep, text: bool, hashed: bool
) -> None:
    async with ledger(database_url, keep) as (opened, engine):
        await opened.record(TASK, values("r"))
        (row,) = await stored(engine)
    assert (row.task == TASK, row.task_hash is not None) == (text, hashed)


async def test_routes_are_removed_once_they_are_old_enough(database_url: str) -> None:
    async with ledger(database_url) as (opened, _):
        await opened.record(TASK, values("old", datetime.now(UTC) - timedelta(days=8)))
        await opened.record(TASK, values("young", datetime.now(UTC) - timedelta(days=6)))
    async with ledger(database_url, days=7) as (_, engine):
        for _ in range(100):
            if [row.route_id for row in await stored(engine)] == ["young"]:
                return
            await asyncio.sleep(0.02)
    raise AssertionError("the old route is still there")


async def test_a_locked_ledger_delays_no_answer_and_loses_no_route(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/catalogue.db"
    await (await open_database(ledger_url(url), create=True)).dispose()
    blocker = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    async with ledger(url, timeout_s=0.05) as (opened, engine):
        blocker.execute("BEGIN IMMEDIATE")
        started = asyncio.get_running_loop().time()
        assert await opened.record(TASK, values("r")) is False
        assert asyncio.get_running_loop().time() - started < 0.5
        blocker.execute("ROLLBACK")
        for _ in range(100):
            if await stored(engine):
                return
            await asyncio.sleep(0.02)
    raise AssertionError("the route was lost")


async def test_a_route_that_cannot_be_stored_is_said_not_to_be(database_url: str) -> None:
    async with ledger(database_url) as (opened, engine):
        assert await opened.record(TASK, values("twice"))
        assert await opened.record(TASK, values("twice")) is False
        assert await opened.record(TASK, values("next"))
        assert [row.route_id for row in await stored(engine)] == ["next", "twice"]
