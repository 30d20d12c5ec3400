"""Keeps one process's view in step: the current generation, then the feed, four times a second."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from core import feed, store
from core.db import read
from core.errors import LoadstarError
from core.retrieval.arms import LexicalArm, RankBM25Arm, TantivyArm
from core.retrieval.delta import Delta
from core.retrieval.generation import Generation
from core.retrieval.view import View
from core.telemetry import DELTA_ROWS, FEED_ERRORS, FEED_LAG, GENERATION_ROWS
from core.types import IndexRow

log = logging.getLogger(__name__)

Result = TypeVar("Result")

BATCH = 500  # changes applied at once


class Follower:
    """Owns the process's view; `view` is replaced as a whole and never changed."""

    def __init__(
        self,
        engine: AsyncEngine,
        empty: Generation,
        generations: Path,
        executor: Executor,
        *,
        poll_s: float,
        gpu: bool = False,
        rank_bm25: bool = False,
    ) -> None:
        """`empty` is what is served before the first generation is built."""
        self._engine = engine
        self._space = empty.space
        self._generations = generations
        self._executor = executor
        self._poll_s = poll_s
        self._gpu = gpu
        self._rank_bm25 = rank_bm25
        self._task: asyncio.Task[None] | None = None
        self.view = View(empty, Delta.empty(empty))
        self.lexical: LexicalArm = TantivyArm()
        self.seq = 0
        self.last_read = -math.inf  # of time.monotonic, when the feed was last read to its end

    async def start(self) -> None:
        """Load the current generation, catch up with the feed, then follow in the background.

        Raises GenerationDamagedError and SpaceMismatchError: serving without is not an option.
        """
        await self._catch_up()
        self._task = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """End the background task."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self) -> None:
        last_failure = ""
        while True:
            await asyncio.sleep(self._poll_s)
            try:
                await self._catch_up()
                last_failure = ""
            except (LoadstarError, SQLAlchemyError, OSError) as error:
                # The view in force still answers; the next poll tries again.
                FEED_ERRORS.inc()
                if str(error) != last_failure:
                    log.warning("the feed cannot be followed: %s", error)
                last_failure = str(error)

    async def _catch_up(self) -> None:
        """Take up a new generation, if there is one, and every change after it.

        A new generation replaces the view only with its changes applied, so that nothing that
        was visible disappears in between.
        """
        if self._rank_bm25 and not isinstance(self.lexical, RankBM25Arm):
            self.lexical = RankBM25Arm.of(await self._live_rows())
        view, seq = await self._on_current_generation()
        same_generation = view.generation is self.view.generation
        while (step := await self._with_next_changes(view, seq)) is not None:
            view, seq = step
            if same_generation:
                self._show(view, seq)
        self._show(view, seq)
        self.last_read = time.monotonic()

    async def _live_rows(self) -> list[IndexRow]:
        async with read(self._engine) as connection:
            batches = store.stream_live_rows(connection, self._space)
            return [row async for batch in batches for row in batch]

    async def _on_current_generation(self) -> tuple[View, int]:
        async with read(self._engine) as connection:
            current = await store.current_generation(connection, self._space.id)
        if current is None or current == self.view.generation.id:
            return self.view, self.seq
        folder = self._generations / current
        load = partial(Generation.load, folder, self._space, gpu=self._gpu)
        generation = await self._run(load)
        await self._run(lambda: generation.segment.names)  # built on first use, 0.4 s for 80,000
        return View(generation, Delta.empty(generation)), generation.seq

    async def _with_next_changes(self, view: View, seq: int) -> tuple[View, int] | None:
        """The view after the next batch of the feed; None where there is none."""
        async with read(self._engine) as connection:
            changes = await feed.changes_since(connection, seq, BATCH)
            FEED_LAG.set(await feed.head(connection) - seq)
            if not changes:
                return None
            latest = {change.skill_id: change.row for change in changes}
            added = [row for row in latest.values() if row is not None]
            rows = await store.index_rows(connection, added, self._space)
        if isinstance(self.lexical, RankBM25Arm):
            self.lexical = await self._run(self.lexical.extended, rows)
        superseded = [c.replaced_row for c in changes if c.replaced_row is not None]
        delta = await self._run(view.delta.apply, rows, superseded)
        return View(view.generation, delta), changes[-1].seq

    def _show(self, view: View, seq: int) -> None:
        self.view, self.seq = view, seq
        GENERATION_ROWS.set(len(view.generation.segment.rows))
        DELTA_ROWS.set(len(view.delta.segment.rows))

    async def _run(self, work: Callable[..., Result], *arguments: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work, *arguments)
