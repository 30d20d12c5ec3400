"""THE STORY of POST /route: embed, search, fuse, rerank, select, decide, record, answer."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine

from app.routing import answer
from app.routing.answer import Judged, ledger_row
from app.routing.content import Content, contents
from app.routing.contract import NotLoaded, RouteAnswer, RoutedSkill, RouteRequest
from app.routing.course import Course, look
from app.routing.decide import Situation, decide, load_threshold, settle
from app.routing.drift import Drift
from app.routing.explain import explained, staged
from app.routing.explained import Explained, ExplainRequest
from app.routing.follower import Follower, Snapshot
from app.routing.ledger import Ledger
from app.routing.live import lacking_tools, live_version
from app.routing.needs import Needs, by_needs, document
from app.routing.second_stage import Contender, SecondStage
from app.routing.select import collapse_twins, order
from app.routing.stages import Found, Ranked, judge, named_first, near
from app.settings import AppSettings
from core import store
from core.db import read
from core.embedding import Embedder
from core.errors import DeadlineError, InvalidFilterError, OverloadedError
from core.retrieval.arms import LexicalResult, dense
from core.retrieval.fuse import fuse
from core.retrieval.view import View
from core.telemetry import DECISION_DRIFT, IN_FLIGHT, ROUTES, STAGE_SECONDS
from core.text import query_text
from core.types import ArmHit, Decision, Filters, SkillVersion, Verdict
from reranker.decision import falling
from reranker.interaction import Standing
from reranker.need import Need
from reranker.policy import CONFIDENCE, EVERYTHING, Policy, Scale, Surroundings

Result = TypeVar("Result")


@dataclass(slots=True)
class Timings:
    """Milliseconds by stage, as the answer and the metrics report them."""

    ms: dict[str, float] = field(default_factory=dict)
    counted: bool = True  # in the metrics

    def keep(self, stage: str, started: float) -> None:
        """Note the time since `started` (of time.perf_counter) under `stage`."""
        seconds = time.perf_counter() - started
        self.ms[stage] = round(seconds * 1000, 3)
        if self.counted:
            STAGE_SECONDS.labels(stage).observe(seconds)


class Router:
    """Answers routes over the follower's view; one instance serves a process."""

    def __init__(
        self,
        *,
        settings: AppSettings,
        engine: AsyncEngine,
        follower: Follower,
        embedder: Embedder,
        second_stage: SecondStage,
        policy: Policy,
        need: Need | None,
        ledger: Ledger,
        executor: Executor,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._follower = follower
        self._embedder = embedder
        self._second_stage = second_stage
        self._policy = policy
        self._need = need
        self._ledger = ledger
        self._drift = Drift(policy.scales)
        self._executor = executor
        self._in_flight = 0

    async def route(self, request: RouteRequest) -> RouteAnswer:
        """Answer one request and record it.

        Raises InvalidFilterError, OverloadedError, DeadlineError.
        """
        async with self._admitted():
            started, timings = time.perf_counter(), Timings()
            reply, judged = await self._answer(request, self._follower.snapshot, timings)
            recorded = await self._record(request, reply, timings)
            if recorded and judged:
                self._watch(reply.scored_by, judged[0])
            timings.keep("total", started)
            ROUTES.labels(reply.decision, reply.reason).inc()
            return reply.model_copy(update={"recorded": recorded, "timings_ms": timings.ms})

    async def answer(
        self, request: RouteRequest, snapshot: Snapshot, timings: Timings
    ) -> RouteAnswer:
        """Answer one request over a snapshot. Raises InvalidFilterError."""
        reply, _ = await self._answer(request, snapshot, timings)
        return reply

    async def explain(self, request: ExplainRequest, snapshot: Snapshot) -> Explained:
        """Say what each stage of a route over a snapshot saw of one skill; nothing is recorded.

        Raises NotFoundError, InvalidFilterError, OverloadedError, DeadlineError.
        """
        async with self._admitted():
            version = await live_version(self._engine, request.skill)
            route, timings = request.route, Timings(counted=False)
            found, ranked = await self._searched(route, snapshot, timings)
            reply, _ = await self._answered(route, snapshot, found, ranked, timings)
            looked = await self._run(look, found, snapshot.lexical, version.row)
            course = self._course(found, ranked, route, reply.skills, reply.not_loaded)
            return explained(version, looked, course, reply, route.k)

    async def _answer(
        self, request: RouteRequest, snapshot: Snapshot, timings: Timings
    ) -> tuple[RouteAnswer, Sequence[Judged]]:
        """The answer, and the ranked skills that it rests on."""
        found, ranked = await self._searched(request, snapshot, timings)
        return await self._answered(request, snapshot, found, ranked, timings)

    async def _searched(
        self, request: RouteRequest, snapshot: Snapshot, timings: Timings
    ) -> tuple[Found, Ranked]:
        found = await self._search(request, snapshot, timings)
        versions = await self._read_back(found, timings)
        return found, await self._rank(request.task, found, versions, timings)

    async def _answered(
        self,
        request: RouteRequest,
        snapshot: Snapshot,
        found: Found,
        ranked: Ranked,
        timings: Timings,
    ) -> tuple[RouteAnswer, Sequence[Judged]]:
        judged = self._judge(ranked, request.k, found, timings)
        decision = self._decide(judged, ranked.scale, found, request)
        if decision.verdict is Verdict.NONE and await self._hidden_fits(request, snapshot, timings):
            decision = replace(decision, reason="filtered_out")
        return await self._compose(request, judged, ranked, decision, found, timings), judged

    async def _hidden_fits(
        self, request: RouteRequest, snapshot: Snapshot, timings: Timings
    ) -> bool:
        """Whether a skill would be loaded that the filters hide."""
        wider = request.widened()
        if wider is None:
            return False
        started = time.perf_counter()
        found, ranked = await self._searched(wider, snapshot, Timings(counted=False))
        judged = self._judge(ranked, wider.k, found, Timings(counted=False))
        timings.keep("widened", started)
        return self._decide(judged, ranked.scale, found, wider).verdict is Verdict.LOAD

    @asynccontextmanager
    async def _admitted(self) -> AsyncIterator[None]:
        """Let in at most `max_in_flight` routes, none for longer than `route_timeout_s`."""
        if self._in_flight >= self._settings.max_in_flight:
            raise OverloadedError(
                f"{self._in_flight} routes are under way; try again.", retry_after_s=1
            )
        self._in_flight += 1
        IN_FLIGHT.set(self._in_flight)
        try:
            async with asyncio.timeout(self._settings.route_timeout_s):
                yield
        except TimeoutError as error:
            raise DeadlineError(
                f"The route took longer than {self._settings.route_timeout_s:g} s; try again."
            ) from error
        finally:
            self._in_flight -= 1
            IN_FLIGHT.set(self._in_flight)

    async def _search(self, request: RouteRequest, snapshot: Snapshot, timings: Timings) -> Found:
        """Both arms side by side over one view, then their fusion."""
        view = snapshot.view
        filters = _checked(request.filters.to_filters(), view)
        text = query_text(request.task, request.context.messages)
        depth = self._settings.candidates

        def by_meaning() -> list[ArmHit]:
            started = time.perf_counter()
            hits = dense(view, vector, filters, depth, threads=1)
            timings.keep("dense", started)
            return hits

        def by_words() -> tuple[LexicalResult, list[int]]:
            started = time.perf_counter()
            result = snapshot.lexical.search(view, text, filters, depth)
            named = view.called(request.task, filters)
            timings.keep("lexical", started)
            return result, named

        # The encoder takes every core by itself; the arms take one each.
        started = time.perf_counter()
        vector = (await self._run(self._embedder.embed, [text]))[0]
        timings.keep("embed", started)
        similar, (worded, named) = await asyncio.gather(self._run(by_meaning), self._run(by_words))
        started = time.perf_counter()
        hits = {"dense": similar, "lexical": worded.hits}
        # Twice `k` at least, since twins collapse.
        wanted = max(self._settings.rerank_depth, 2 * request.k)
        fused = fuse(hits, self._policy.arm_weights, wanted)
        found = Found(
            view=view,
            seq=snapshot.seq,
            filters=filters,
            task=request.task,
            text=text,
            vector=vector,
            dense=similar,
            lexical=worded,
            candidates=named_first(fused, named),
            named=frozenset(named),
            need=self._need.logit(vector) if self._need else 0.0,
            needs=Needs.of(request.task, worded.idf),
        )
        timings.keep("fuse", started)
        return found

    async def _read_back(self, found: Found, timings: Timings) -> Mapping[int, SkillVersion]:
        """The candidates with their texts."""
        started = time.perf_counter()
        rows = [candidate.row for candidate in found.candidates]
        async with read(self._engine) as connection:
            versions = await store.versions(connection, rows)
        timings.keep("read_back", started)
        return versions

    async def _rank(
        self, task: str, found: Found, versions: Mapping[int, SkillVersion], timings: Timings
    ) -> Ranked:
        """Reranked, ordered on the scale of whoever scored, twins collapsed, needs spread."""
        started = time.perf_counter()
        contenders = [
            Contender(
                row=candidate.row,
                standing=Standing.of(candidate),
                document=document(versions[candidate.row]),
            )
            for candidate in found.candidates
            if candidate.row in versions
        ]
        reranked = await self._second_stage.score(task, contenders)
        scale = self._policy.scale_in(reranked.scored_by, self._around(found))
        ordered = order(
            found.candidates,
            versions,
            reranked.scores,
            rerank_weight=scale.rerank_weight,
            named=found.named,
        )
        ranked = Ranked(
            ordered=ordered,
            skills=by_needs(collapse_twins(ordered), found.needs),
            scored_by=reranked.scored_by,
            scale=scale,
        )
        timings.keep("rerank", started)
        return ranked

    def _around(self, found: Found) -> Surroundings:
        background = found.view.background(found.filters)
        return Surroundings(
            encoder=self._embedder.space.revision,
            skills=found.view.count(found.filters),
            background=float(background.mean()) if background.size else 0.0,
            catalogue=found.view.only_catalogue(found.filters) or EVERYTHING,
        )

    def _judge(self, ranked: Ranked, k: int, found: Found, timings: Timings) -> list[Judged]:
        """The first k skills with their features and their probability of helping."""
        started = time.perf_counter()
        judged = judge(ranked.skills[:k], ranked, found)
        timings.keep("decide", started)
        return judged

    def _decide(
        self, judged: Sequence[Judged], scale: Scale, found: Found, request: RouteRequest
    ) -> Decision:
        return decide(
            falling([each.p_alone for each in judged]),
            scale,
            Situation(
                named=any(each.scored.exact_name for each in judged[:1]),
                visible=found.view.count(found.filters) > 0,
                searchable=bool(found.lexical.idf),
                needless=found.need < 0,
                near=near(found),
            ),
            max_false_load=request.max_false_load,
        )

    async def _contents(
        self, request: RouteRequest, chosen: Sequence[Judged], timings: Timings
    ) -> Mapping[int, Content]:
        """What is sent of the skills that may be offered, by row; of none after `none`."""
        if request.include == "none" or not chosen:
            return {}
        started = time.perf_counter()
        versions = [each.scored.version for each in chosen]
        counted = await self._run(
            contents, versions, request.include, request.task, self._embedder.count_tokens
        )
        timings.keep("content", started)
        return counted

    async def _compose(
        self,
        request: RouteRequest,
        judged: Sequence[Judged],
        ranked: Ranked,
        decision: Decision,
        found: Found,
        timings: Timings,
    ) -> RouteAnswer:
        bar = (
            ranked.scale.consider
            if decision.verdict is Verdict.CONSIDER
            else load_threshold(ranked.scale, request.max_false_load)
        )
        rows = [each.scored.version.row for each in judged]
        lacking = await lacking_tools(self._engine, rows, request.context.tools)
        reasons = answer.reasons(judged, decision, request, bar, lacking)
        chosen = [each for each, reason in zip(judged, reasons, strict=True) if not reason]
        sent = await self._contents(request, chosen, timings)
        offered, near_misses = answer.divide(judged, reasons, request, sent, found.needs)
        decision = settle(decision, len(offered), [skill.reason for skill in near_misses])
        background = found.view.background(found.filters)
        course = self._course(found, ranked, request, offered, near_misses)
        return RouteAnswer(
            route_id=f"rte_{uuid.uuid4().hex}",
            decision=decision.verdict.value,
            reason=decision.reason,
            confidence=round(decision.confidence, 4),
            calibration=decision.calibration,
            skills=offered,
            not_loaded=near_misses,
            scored_by=ranked.scored_by,
            policy=self._policy.id,
            models={"encoder": self._embedder.space.id, "reranker": self._second_stage.name},
            generation=found.view.generation.id,
            seq=found.seq,
            recorded=False,
            timings_ms={},
            explain=(
                answer.explanation(judged, background, self._around(found))
                | {"stages": staged(judged, course)}
                if request.explain
                else None
            ),
        )

    def _course(
        self,
        found: Found,
        ranked: Ranked,
        request: RouteRequest,
        offered: Sequence[RoutedSkill],
        near_misses: Sequence[NotLoaded],
    ) -> Course:
        return Course(
            found=found,
            ranked=ranked,
            arm_weights=self._policy.arm_weights,
            depth=self._settings.candidates,
            load=load_threshold(ranked.scale, request.max_false_load),
            offered=frozenset(skill.id for skill in offered),
            reasons={skill.id: skill.reason for skill in near_misses},
        )

    async def _record(self, request: RouteRequest, reply: RouteAnswer, timings: Timings) -> bool:
        started = time.perf_counter()
        row = ledger_row(request, reply, timings.ms)
        recorded = await self._ledger.record(request.task, row)
        timings.keep("ledger", started)
        return recorded

    def _watch(self, scored_by: str, first: Judged) -> None:
        """Report how far such routes have moved from their scale's calibration rows."""
        found = {**first.features, CONFIDENCE: first.p_useful}
        for name, psi in self._drift.observe(scored_by, found).items():
            DECISION_DRIFT.labels(scored_by, name).set(psi)

    async def _run(self, work: Callable[..., Result], *arguments: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work, *arguments)


def _checked(filters: Filters, view: View) -> Filters:
    unknown = [name for name in filters.catalogues if name not in view.known_catalogues]
    if unknown:
        raise InvalidFilterError(f"filters.catalogues: there is no catalogue {unknown[0]!r}.")
    return filters
