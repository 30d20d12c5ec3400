"""The second stage: candidates scored best first, while the order is in doubt and time is left."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import TypeVar

from app.routing.select import settled
from core.errors import RerankerFailedError
from core.telemetry import RERANK_DEGRADED
from reranker.interaction import Standing
from reranker.overlap import OverlapReranker, Reranker
from reranker.pairs import Document
from reranker.policy import FALLBACK, Policy

Result = TypeVar("Result")

log = logging.getLogger(__name__)

PARTIAL = "/partial"
"""Ends `scored_by` where the deadline left candidates unscored; they follow those scored."""

CHUNK = 4
"""Candidates that are scored between two looks at the order and the clock."""

HUNG_SHARE = 0.5
"""Of the deadline: a chunk that runs for longer hangs. One takes some 40 ms of 1,000."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A candidate as the second stage takes it."""

    row: int
    standing: Standing
    document: Document


@dataclass(frozen=True, slots=True, kw_only=True)
class Reranked:
    """Scores by row, of the candidates that have one, and who gave them."""

    scores: Mapping[int, float]
    scored_by: str


class SecondStage:
    """A reranker within a deadline, and word overlap where it gives no score."""

    def __init__(
        self, reranker: Reranker, policy: Policy, *, deadline_s: float, tokens: int
    ) -> None:
        """`tokens` are spent on a request at most, but for a first chunk that takes more."""
        self.name = reranker.name
        self._reranker = reranker
        self._scale = policy.scale(reranker.name)
        self._deadline_s = deadline_s
        self._tokens = tokens
        # One worker: the model takes every core, and a chunk that still waits can be cancelled.
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rerank")
        self._running_since: float | None = None

    async def score(self, task: str, contenders: Sequence[Contender]) -> Reranked:
        """Score the contenders in their order, best first; never longer than the deadline.

        Those that are beyond the tokens to spend, or no longer matter, have no score.
        """
        if self.name == FALLBACK:
            return await self._by_words(task, contenders)
        found: dict[int, float] = {}
        left = self._tokens
        ends = time.monotonic() + self._deadline_s
        try:
            for end in range(CHUNK, len(contenders) + CHUNK, CHUNK):
                step = partial(self._step, task, contenders[:end], len(found), left)
                scores, left = await self._work(step, ends)
                found |= scores
                if left <= 0 or self._settled(contenders, found):
                    break
            return Reranked(scores=found, scored_by=self.name)
        except TimeoutError:
            RERANK_DEGRADED.labels("late").inc()
        except RerankerFailedError as error:
            RERANK_DEGRADED.labels("failed").inc()
            log.warning("the reranker %s failed: %s", self.name, error.detail)
        if found:
            return Reranked(scores=found, scored_by=self.name + PARTIAL)
        return await self._by_words(task, contenders)

    def close(self) -> None:
        """Let the worker end; a chunk that is being scored is not waited for."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _settled(self, contenders: Sequence[Contender], found: Mapping[int, float]) -> bool:
        scored = [
            (each.standing.fused, found[each.row]) for each in contenders if each.row in found
        ]
        rest = contenders[len(found) :]
        return bool(rest) and settled(scored, rest[0].standing.fused, self._scale)

    async def _by_words(self, task: str, contenders: Sequence[Contender]) -> Reranked:
        documents = [each.document for each in contenders]
        scores = await asyncio.to_thread(OverlapReranker().score, task, documents)
        rows = [each.row for each in contenders]
        return Reranked(scores=dict(zip(rows, scores, strict=True)), scored_by=FALLBACK)

    def _step(
        self, task: str, contenders: Sequence[Contender], done: int, left: int
    ) -> tuple[dict[int, float], int]:
        """Score what follows the first `done`, as far as the tokens `left` suffice; what is left.

        The first chunk is scored whole. A listwise reranker keeps what it has read, so asking it
        for all again is cheap.
        """
        costs = self._reranker.cost(task, [each.document for each in contenders[done:]])
        within = sum(spent <= left for spent in accumulate(costs)) if done else len(costs)
        if not within:
            return {}, 0
        asked = contenders[0 if self._reranker.listwise else done : done + within]
        documents = [each.document for each in asked]
        scores = self._reranker.score(task, documents, [each.standing for each in asked])
        rows = [each.row for each in asked]
        return dict(zip(rows, scores, strict=True)), left - sum(costs)

    async def _work(self, step: Callable[[], Result], ends: float) -> Result:
        """Raises TimeoutError where the worker gives no answer by `ends`, or has hung before,
        and RerankerFailedError where it failed."""
        if self._hangs():
            raise TimeoutError
        working = self._worker.submit(self._timed, step)
        try:
            async with asyncio.timeout(ends - time.monotonic()):
                return await asyncio.wrap_future(working)
        finally:
            working.cancel()

    def _timed(self, step: Callable[[], Result]) -> Result:
        self._running_since = time.monotonic()
        try:
            return step()
        except RuntimeError as error:  # what OpenVINO and torch raise
            raise RerankerFailedError(str(error)) from error
        finally:
            self._running_since = None

    def _hangs(self) -> bool:
        """Whether one chunk takes so much of the deadline that waiting behind it is no use."""
        since = self._running_since
        return since is not None and time.monotonic() - since > HUNG_SHARE * self._deadline_s
