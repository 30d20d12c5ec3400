"""Systems that are compared, each over the same indexed data folder."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.api.dependencies import Parts
from app.main import open_parts
from app.routing.contract import MAX_TASK_CHARS, RouteAnswer, RouteFilters, RouteRequest
from app.routing.follower import Snapshot
from app.routing.router import Timings
from app.settings import AppSettings
from core.db import read
from core.embedding import Embedder, load_embedder
from core.retrieval.arms import dense
from core.retrieval.fuse import fuse
from core.tables import catalogues, passages, skills
from core.text import query_text
from core.types import ArmHit, Filters, Vector
from evaluation.removal import without
from evaluation.types import POOL, Place, Query, Ranking, Run, catalogue_of
from reranker.policy import Policy, load_policy

DEPTH = 200
"""Skills that each system ranks: Recall@50 counts groups of twins, so more than 50 are needed."""

ROUTE_K = 10
"""Skills that the router answers with; it reranks as many candidates as for its default of 5."""

WARM_UP = "warm up"
"""Asked before a run: the first question pays for masks, kernels and pages of mapped files."""

Hits = Sequence[tuple[int, float]]
"""Row and score, best first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """One way to answer tasks within one scope; each answer says how long it took."""

    name: str
    scope: str  # a catalogue or `pool`
    answer: Callable[[str], Awaitable[Ranking]]
    tokens_per_skill: float = 0.0  # spent by the embedder on each skill of the scope
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """An indexed data folder, opened as the server opens it."""

    parts: Parts
    embedder: Embedder
    policy: Policy
    places: Mapping[int, Place]  # by live row
    rows: Mapping[Place, int]  # the same the other way round
    apart: frozenset[str]  # catalogues that no system here sees, in `parts` all the same
    snapshot: Snapshot  # what the systems search: all but the catalogues apart
    tokens: Mapping[int, int]  # by live row: what the embedder read of its passages

    def rows_within(self, scope: str) -> list[int]:
        """The live rows of a catalogue, or of the pool, in ascending order."""
        return [
            row
            for row in sorted(self.places)
            if (home := catalogue_of(self.places[row])) not in self.apart and scope in (POOL, home)
        ]

    def first_stage(
        self, name: str, scope: str, find: Callable[[str], Hits], tokens_per_skill: float = 0.0
    ) -> System:
        """A system that ranks rows by `find`, timed around that call."""

        async def answer(task: str) -> Ranking:
            started = time.perf_counter()
            hits = find(task)
            latency_ms = (time.perf_counter() - started) * 1000
            return Ranking(
                places=tuple(self.places[row] for row, _ in hits),
                scores=tuple(score for _, score in hits),
                latency_ms=latency_ms,
            )

        return System(name=name, scope=scope, answer=answer, tokens_per_skill=tokens_per_skill)

    def lexical(self, scope: str) -> System:
        """The lexical arm alone."""

        def find(task: str) -> Hits:
            return [(hit.row, hit.score) for hit in self.by_words(task, scope)]

        return self.first_stage("lexical", scope, find)

    def dense(self, scope: str) -> System:
        """The dense arm alone, over passages as they are indexed."""

        def find(task: str) -> Hits:
            return [(hit.row, hit.score) for hit in self._by_meaning(task, scope)]

        return self.first_stage("dense", scope, find, self._tokens_per_skill(scope))

    def fused(self, scope: str, weights: Mapping[str, float]) -> System:
        """Both arms, one after the other, fused with these weights."""

        def find(task: str) -> Hits:
            fused = fuse(self.arms(task, scope), weights, DEPTH)
            return [(candidate.row, candidate.score) for candidate in fused]

        return self.first_stage("fused", scope, find, self._tokens_per_skill(scope))

    def reranked(self, scope: str) -> System:
        """The router's whole answer; below it, untimed, what it did not read back, as fused."""
        fused = self.fused(scope, self.policy.arm_weights)
        filters = RouteFilters(catalogues=[] if scope == POOL else [scope])

        async def answer(task: str) -> Ranking:
            request = RouteRequest(task=task[:MAX_TASK_CHARS], k=ROUTE_K, filters=filters)
            started = time.perf_counter()
            routed = await self.parts.router.answer(request, self.snapshot, Timings())
            latency_ms = (time.perf_counter() - started) * 1000
            rest = await fused.answer(task)
            places = tuple(dict.fromkeys([*_listed(routed), *rest.places]))
            return Ranking(
                places=places,
                scores=tuple(-float(rank) for rank in range(len(places))),
                latency_ms=latency_ms,
                p_useful=routed.confidence,
                decision=routed.decision,
            )

        return System(
            name="reranked",
            scope=scope,
            answer=answer,
            tokens_per_skill=self._tokens_per_skill(scope),
        )

    def arms(self, task: str, scope: str) -> dict[str, list[ArmHit]]:
        """What each arm finds, as `fuse` takes it."""
        return {"dense": self._by_meaning(task, scope), "lexical": self.by_words(task, scope)}

    def embed(self, task: str) -> Vector:
        """A task's vector, as the router makes it."""
        vector: Vector = self.embedder.embed([query_text(task)])[0]
        return vector

    def _by_meaning(self, task: str, scope: str) -> list[ArmHit]:
        return dense(self.snapshot.view, self.embed(task), _filters(scope), DEPTH, threads=1)

    def by_words(self, task: str, scope: str) -> list[ArmHit]:
        """What the lexical arm finds."""
        view, text = self.snapshot.view, query_text(task)
        return self.snapshot.lexical.search(view, text, _filters(scope), DEPTH).hits

    def _tokens_per_skill(self, scope: str) -> float:
        return float(np.mean([self.tokens[row] for row in self.rows_within(scope)]))


async def run(system: System, queries: Sequence[Query]) -> Run:
    """All queries, one after the other, after one that warms the system up."""
    await system.answer(WARM_UP)
    return Run(
        system=system.name,
        scope=system.scope,
        rankings={query.qid: await system.answer(query.text) for query in queries},
        tokens_per_skill=system.tokens_per_skill,
        notes=system.notes,
    )


@asynccontextmanager
async def open_bench(
    settings: AppSettings, *, apart: frozenset[str] = frozenset()
) -> AsyncIterator[Bench]:
    """Open an indexed data folder, with catalogues that the systems are not to see.

    Raises LoadstarError where the server would not start.
    """
    async with open_parts(settings) as parts:
        embedder = load_embedder(settings.encoder, threads=settings.threads)
        async with read(parts.engine) as connection:
            places = await _places(connection)
            tokens = await _tokens(connection, embedder, places)
        hidden = [row for row, place in places.items() if catalogue_of(place) in apart]
        yield Bench(
            parts=parts,
            embedder=embedder,
            policy=load_policy(settings.policy_file),
            places=places,
            rows={place: row for row, place in places.items()},
            apart=apart,
            snapshot=without(parts.follower.snapshot, hidden),
            tokens=tokens,
        )


def embedded_tokens(embedder: Embedder, texts: Sequence[str]) -> list[int]:
    """What the embedder reads of each text: cut at its window, two markers included."""
    window = embedder.space.max_tokens
    return [min(count + 2, window) for count in embedder.count_tokens(texts)]


async def _places(connection: AsyncConnection) -> dict[int, Place]:
    placed = select(skills.c.live_row, catalogues.c.name, skills.c.path).join(catalogues)
    live = await connection.execute(placed.where(skills.c.live_row.is_not(None)))
    return {row: _place(catalogue, path) for row, catalogue, path in live}


async def _tokens(
    connection: AsyncConnection, embedder: Embedder, rows: Collection[int]
) -> dict[int, int]:
    live = select(passages.c.row, passages.c.text).join(skills, skills.c.live_row == passages.c.row)
    found = (await connection.execute(live)).all()
    tokens = dict.fromkeys(rows, 0)
    counts = embedded_tokens(embedder, [text for _, text in found])
    for (row, _), count in zip(found, counts, strict=True):
        tokens[row] += count
    return tokens


def _filters(scope: str) -> Filters:
    return Filters() if scope == POOL else Filters(catalogues=(scope,))


def _listed(answer: RouteAnswer) -> list[Place]:
    """Every skill of an answer in order, each with the twins that it stands for behind it."""
    places = []
    for skill in (*answer.skills, *answer.not_loaded):
        places.append(_place(skill.catalogue, skill.path))
        places += [_place(twin.catalogue, twin.path) for twin in skill.twins]
    return places


def _place(catalogue: str, path: str) -> Place:
    return f"{catalogue}/{path}" if path else catalogue
