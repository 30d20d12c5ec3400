"""The append-only ledger of routes, committed in groups."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import delete, insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from core.db import write
from core.errors import LoadstarError
from core.tables import routes
from core.telemetry import LEDGER_ERRORS, UNRECORDED

log = logging.getLogger(__name__)

QUEUE_ROUTES = 1_000  # past this a route is answered unrecorded rather than held in memory
STOP_S = 5.0
PRUNE_EVERY_S = 3_600.0

Keep = Literal["text", "hash", "nothing"]


@dataclass(frozen=True, slots=True)
class _Entry:
    values: dict[str, Any]
    committed: asyncio.Future[bool]


class Ledger:
    """Writes routes; one commit serves every route that waits for it."""

    def __init__(self, engine: AsyncEngine, *, keep: Keep, days: int, timeout_s: float) -> None:
        self._engine = engine
        self._keep = keep
        self._days = days
        self._timeout_s = timeout_s
        self._queue: asyncio.Queue[_Entry] = asyncio.Queue(QUEUE_ROUTES)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start the writer, and the pruning of routes older than the operator keeps."""
        self._tasks = [asyncio.create_task(self._write())]
        if self._days:
            self._tasks.append(asyncio.create_task(self._prune()))

    async def stop(self) -> None:
        """Commit what waits, then end."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._queue.join(), STOP_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def record(self, task: str, values: dict[str, Any]) -> bool:
        """Whether the route is committed within the deadline; it may still be committed later."""
        entry = _Entry(values | self._kept(task), asyncio.get_running_loop().create_future())
        try:
            self._queue.put_nowait(entry)
            recorded = await asyncio.wait_for(asyncio.shield(entry.committed), self._timeout_s)
        except (asyncio.QueueFull, TimeoutError):
            recorded = False
        if not recorded:
            UNRECORDED.inc()
        return recorded

    def _kept(self, task: str) -> dict[str, str | None]:
        if self._keep == "nothing":
            return {"task": None, "task_hash": None}
        digest = hashlib.sha256(task.encode()).hexdigest()
        return {"task": task if self._keep == "text" else None, "task_hash": digest}

    async def _write(self) -> None:
        while True:
            entries = [await self._queue.get()]
            while not self._queue.empty():
                entries.append(self._queue.get_nowait())
            committed = await self._commit([entry.values for entry in entries])
            for entry in entries:
                entry.committed.set_result(committed)
                self._queue.task_done()

    async def _commit(self, values: list[dict[str, Any]]) -> bool:
        try:
            async with write(self._engine) as connection:
                await connection.execute(insert(routes), values)
        except (LoadstarError, SQLAlchemyError) as error:
            LEDGER_ERRORS.inc()
            log.warning("%d routes were not recorded: %s", len(values), error)
            return False
        return True

    async def _prune(self) -> None:
        while True:
            oldest = datetime.now(UTC) - timedelta(days=self._days)
            try:
                async with write(self._engine) as connection:
                    await connection.execute(delete(routes).where(routes.c.at < oldest))
            except (LoadstarError, SQLAlchemyError) as error:
                LEDGER_ERRORS.inc()
                log.warning("old routes were not pruned: %s", error)
            await asyncio.sleep(PRUNE_EVERY_S)
