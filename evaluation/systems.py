"""Systems that are compared, each over the same indexed data folder."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np
from rank_bm25 import BM25Okapi
from sqlalchemy import select

from app.api.dependencies import Parts
from app.main import open_parts
from app.routing.contract import MAX_TASK_CHARS, RouteFilters, RouteRequest
from app.routing.router import Timings
from app.settings import AppSettings
from core import store
from core.db import read
from core.embedding import Embedder, load_embedder
from core.retrieval.arms import dense
from core.retrieval.fuse import fuse
from core.tables import catalogues, skills
from core.types import Filters, IndexRow
from evaluation.types import POOL, Place, Query, Ranking, Run
from reranker.policy import Policy, load_policy

DEPTH = 200
"""Skills that each system ranks: Recall@50 counts groups of twins, so more than 50 are needed."""

ROUTE_K = 10
"""Skills that the router answers with; it reranks as many candidates as for its default of 5."""

Hits = Sequence[tuple[int, float]]
"""Row and score, best first."""

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """An indexed data folder, opened as the server opens it."""

    parts: Parts
    embedder: Embedder
    policy: Policy
    places: Mapping[int, Place]  # by live row

    def hits(self, system: str, scope: str) -> Callable[[str], Hits]:
        """How a first-stage system answers a task within a scope. Raises KeyError for others."""
        filters = Filters() if scope == POOL else Filters(catalogues=(scope,))
        view, arm = self.parts.follower.snapshot.view, self.parts.follower.snapshot.lexical

        def by_meaning(task: str) -> Hits:
            vector = self.embedder.embed([task])[0]
            return [(hit.row, hit.score) for hit in dense(view, vector, filters, DEPTH, threads=1)]

        def by_words(task: str) -> Hits:
            return [(hit.row, hit.score) for hit in arm.search(view, task, filters, DEPTH).hits]

        def by_both(task: str) -> Hits:
            vector = self.embedder.embed([task])[0]
            found = {
                "dense": dense(view, vector, filters, DEPTH, threads=1),
                "lexical": arm.search(view, task, filters, DEPTH).hits,
            }
            fused = fuse(found, self.policy.arm_weights, DEPTH)
            return [(candidate.row, candidate.score) for candidate in fused]

        return {"dense": by_meaning, "lexical": by_words, "fused": by_both}[system]

    def run(self, system: str, scope: str, queries: Sequence[Query]) -> Run:
        """A first-stage system over all queries."""
        answer = self.hits(system, scope)
        return Run(
            system=system,
            scope=scope,
            rankings={query.qid: self._timed(answer, query.text) for query in queries},
        )

    def _timed(self, answer: Callable[[str], Hits], task: str) -> Ranking:
        started = time.perf_counter()
        hits = answer(task)
        latency_ms = (time.perf_counter() - started) * 1000
        return Ranking(
            places=tuple(self.places[row] for row, _ in hits),
            scores=tuple(score for _, score in hits),
            latency_ms=latency_ms,
        )

    async def run_router(self, scope: str, queries: Sequence[Query]) -> Run:
        """The whole router: its order first, then what it did not read back, as fused."""
        fused = self.hits("fused", scope)
        rankings = {}
        for query in queries:
            filters = RouteFilters(catalogues=[] if scope == POOL else [scope])
            request = RouteRequest(task=query.text[:MAX_TASK_CHARS], k=ROUTE_K, filters=filters)
            started = time.perf_counter()
            snapshot = self.parts.follower.snapshot
            answer = await self.parts.router.answer(request, snapshot, Timings())
            latency_ms = (time.perf_counter() - started) * 1000
            routed = [*answer.skills, *answer.not_loaded]
            first = [_place(skill.catalogue, skill.path) for skill in routed]
            rest = [self.places[row] for row, _ in fused(query.text)]
            places = tuple(dict.fromkeys([*first, *rest]))
            rankings[query.qid] = Ranking(
                places=places,
                scores=tuple(-float(rank) for rank in range(len(places))),
                latency_ms=latency_ms,
                p_useful=answer.confidence,
                decision=answer.decision,
            )
        return Run(system="router", scope=scope, rankings=rankings)

    async def run_bm25(self, scope: str, queries: Sequence[Query]) -> Run:
        """Plain rank-bm25 over name, description and body of a catalogue's skills."""
        rows = [row async for row in self._rows() if row.catalogue == scope]
        texts = [_words(f"{row.name} {row.description} {row.body}") for row in rows]
        reference = BM25Okapi(texts)

        def answer(task: str) -> Hits:
            scores = reference.get_scores(_words(task))
            best = np.argsort(-scores, kind="stable")[:DEPTH]
            return [(rows[place].row, float(scores[place])) for place in best]

        rankings = {query.qid: self._timed(answer, query.text) for query in queries}
        return Run(system="rank-bm25", scope=scope, rankings=rankings)

    async def _rows(self) -> AsyncIterator[IndexRow]:
        async with read(self.parts.engine) as connection:
            async for batch in store.stream_live_rows(connection, self.embedder.space):
                for row in batch:
                    yield row


@asynccontextmanager
async def open_bench(settings: AppSettings) -> AsyncIterator[Bench]:
    """Open an indexed data folder. Raises LoadstarError where the server would not start."""
    async with open_parts(settings) as parts:
        async with read(parts.engine) as connection:
            placed = select(skills.c.live_row, catalogues.c.name, skills.c.path).join(catalogues)
            live = await connection.execute(placed.where(skills.c.live_row.is_not(None)))
            places = {row: _place(catalogue, path) for row, catalogue, path in live}
        yield Bench(
            parts=parts,
            embedder=load_embedder(settings.encoder, threads=settings.threads),
            policy=load_policy(settings.policy_file),
            places=places,
        )


def _place(catalogue: str, path: str) -> Place:
    return f"{catalogue}/{path}" if path else catalogue


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
