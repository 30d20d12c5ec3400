"""Keeps one process's view in step: the current generation, then the feed, four times a second."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
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

log = logging.getLogger(__name__)

Result = TypeVar("Result")

BATCH = 500  # changes applied at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What one moment's requests search."""

    view: View
    seq: int  # of the feed: every change up to it is in the view
    lexical: LexicalArm


class Follower:
    """Owns the process's snapshot, which is replaced as a whole and never changed."""

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
        self.snapshot = Snapshot(view=View(empty, Delta.empty(empty)), seq=0, lexical=TantivyArm())
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
        snapshot = await self._on_current_generation()
        same_generation = snapshot.view.generation is self.snapshot.view.generation
        while (step := await self._with_next_changes(snapshot)) is not None:
            snapshot = step
            if same_generation:
                self._show(snapshot)
        self._show(snapshot)
        self.last_read = time.monotonic()

    async def _on_current_generation(self) -> Snapshot:
        async with read(self._engine) as connection:
            current = await store.current_generation(connection, self._space.id)
            if self._rank_bm25 and not isinstance(self.snapshot.lexical, RankBM25Arm):
                batches = store.stream_live_rows(connection, self._space)
                arm = RankBM25Arm.of([row async for batch in batches for row in batch])
                self.snapshot = replace(self.snapshot, lexical=arm)
        if current is None or current == self.snapshot.view.generation.id:
            return self.snapshot
        folder = self._generations / current
        load = partial(Generation.load, folder, self._space, gpu=self._gpu)
        generation = await self._run(load)
        await self._run(lambda: generation.segment.names)  # built on first use, 0.4 s for 80,000
        view = View(generation, Delta.empty(generation))
        return replace(self.snapshot, view=view, seq=generation.seq)

    async def _with_next_changes(self, snapshot: Snapshot) -> Snapshot | None:
        """The snapshot after the next batch of the feed; None where there is none."""
        async with read(self._engine) as connection:
            changes = await feed.changes_since(connection, snapshot.seq, BATCH)
            FEED_LAG.set(await feed.head(connection) - snapshot.seq)
            if not changes:
                return None
            latest = {change.skill_id: change.row for change in changes}
            added = [row for row in latest.values() if row is not None]
            rows = await store.index_rows(connection, added, self._space)
        lexical = snapshot.lexical
        if isinstance(lexical, RankBM25Arm):
            lexical = await self._run(lexical.extended, rows)
        superseded = [c.replaced_row for c in changes if c.replaced_row is not None]
        delta = await self._run(snapshot.view.delta.apply, rows, superseded)
        view = View(snapshot.view.generation, delta)
        return Snapshot(view=view, seq=changes[-1].seq, lexical=lexical)

    def _show(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        GENERATION_ROWS.set(len(snapshot.view.generation.segment.rows))
        DELTA_ROWS.set(len(snapshot.view.delta.segment.rows))

    async def _run(self, work: Callable[..., Result], *arguments: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work, *arguments)
