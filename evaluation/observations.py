"""Observations: what the router sees of a task with the right skill there, gone, or never there.

The routes are real ones; a policy is judged, and a new one fitted, on what they saw without
routing anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from app.routing.contract import (
    MAX_TASK_CHARS,
    RoutedSkill,
    RouteFilters,
    RouteRequest,
)
from app.routing.follower import Snapshot
from app.routing.router import Timings
from evaluation.datasets import METATOOL
from evaluation.removal import without
from evaluation.retrieval_metrics import Twins
from evaluation.systems import Bench
from evaluation.types import POOL, Place, Query, catalogue_of
from reranker.decision import Features
from reranker.policy import Surroundings

K = RouteRequest.model_fields["k"].default
"""Skills that an answer judges by default."""


class Condition(StrEnum):
    """What is there of the right skills when the task is routed."""

    PRESENT = "present"
    REMOVED = "removed"  # they and their twins were made invisible
    NEGATIVE = "negative"  # there are none
    WITHHELD = "withheld"  # the set itself keeps the right one out of the candidates


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One ranked skill of an answer."""

    place: Place
    features: Features
    twins: tuple[Place, ...]  # collapsed into it
    right: bool  # a skill that should fire, or its twin
    scores: Mapping[str, float | None]  # of each stage, as the answer reports them


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One routed task: all that a policy decides by, and whether a skill there would help."""

    qid: str
    source: str
    scope: str
    condition: Condition
    useful: bool
    split: str
    component: str  # what is tied together: no independent draws
    weak: bool  # a negative that nobody checked
    scored_by: str
    around: Surroundings
    named: bool  # the first skill is one that the task calls by its name
    visible: bool
    searchable: bool
    skills: tuple[Seen, ...]  # in rank order

    @property
    def group(self) -> str:
        """The catalogue that it counts for; the source where it was routed over everything."""
        return self.source if self.scope == POOL else self.scope


class Observer:
    """Routes labelled queries over one snapshot of an indexed data folder."""

    def __init__(
        self, bench: Bench, twins: Twins, component: Mapping[str, str], *, k: int = K
    ) -> None:
        """`component` names what is tied to each query, by qid; a query that is not in it
        stands alone."""
        self._router = bench.parts.router
        self._component = component
        self._k = k
        self._twins = twins
        self._by_group = _by_group(twins, bench.places.values())
        self._rows = bench.rows
        self._whole = bench.parts.follower.snapshot
        self._pool = bench.snapshot

    async def observe(
        self,
        queries: Sequence[Query],
        scope: str,
        *,
        on_done: Callable[[int], None] = lambda done: None,
    ) -> list[Observation]:
        """Every condition that each query allows within the scope.

        Left out are queries that name their skill, weak positives, those whose skills are not
        indexed, and, over the pool, negatives of one catalogue. `on_done` hears how many queries
        are done.
        """
        found: list[Observation] = []
        for done, query in enumerate(queries, start=1):
            if self._fit(query, scope):
                found += await self._all_conditions(query, scope)
            on_done(done)
        return found

    def _fit(self, query: Query, scope: str) -> bool:
        return (
            not query.names_skill
            and not query.weak_positive
            and all(place in self._rows for place in query.relevant + query.withheld)
            and (scope == query.catalogue or (scope == POOL and not _of_catalogue_only(query)))
        )

    async def _all_conditions(self, query: Query, scope: str) -> list[Observation]:
        whole = self._pool if scope == POOL else self._whole
        if query.candidates:
            hidden = {place for place in self._rows if catalogue_of(place) == query.catalogue}
            hidden -= {*query.candidates, *query.withheld}
            offered = self._hide(whole, hidden)
            kept_out = self._hide(offered, query.withheld)
            return [
                await self._one(query, scope, Condition.PRESENT, offered, set(query.withheld)),
                await self._one(query, scope, Condition.WITHHELD, kept_out, set()),
            ]
        if not query.relevant:
            return [await self._one(query, scope, Condition.NEGATIVE, whole, set())]
        right = self._with_twins(query.relevant)
        if query.catalogue == METATOOL:  # others of its tools may do as well as the right one
            return [await self._one(query, scope, Condition.PRESENT, whole, right)]
        present = await self._one(query, scope, Condition.PRESENT, whole, right)
        # The router's own twins too: who brings queries of their own knows no near_group.
        for seen in present.skills:
            if seen.right:
                right |= {seen.place, *seen.twins}
        gone = self._hide(whole, right)
        return [present, await self._one(query, scope, Condition.REMOVED, gone, set())]

    async def _one(
        self,
        query: Query,
        scope: str,
        condition: Condition,
        snapshot: Snapshot,
        right: set[Place],
    ) -> Observation:
        request = RouteRequest(
            task=query.text[:MAX_TASK_CHARS],
            k=self._k,
            filters=RouteFilters(catalogues=[] if scope == POOL else [scope]),
            explain=True,
        )
        answer = await self._router.answer(request, snapshot, Timings())
        ranked: list[RoutedSkill] = [*answer.skills, *answer.not_loaded]
        explained = answer.explain or {}
        features = explained["features"]
        return Observation(
            qid=query.qid,
            source=query.source,
            scope=scope,
            condition=condition,
            useful=condition is Condition.PRESENT,
            split=query.split,
            component=self._component.get(query.qid, query.qid),
            weak=query.weak_negative,
            scored_by=answer.scored_by,
            around=Surroundings(**explained["surroundings"]),
            named=any(skill.exact_name for skill in ranked[:1]),
            visible=answer.reason != "nothing_visible",
            searchable=answer.reason != "no_words",
            skills=tuple(_seen(skill, features[skill.id], right) for skill in ranked),
        )

    def _hide(self, snapshot: Snapshot, places: Iterable[Place]) -> Snapshot:
        return without(snapshot, [self._rows[place] for place in places])

    def _with_twins(self, places: Iterable[Place]) -> set[Place]:
        return {twin for place in places for twin in self._by_group[self._twins.get(place, place)]}


def _of_catalogue_only(query: Query) -> bool:
    return query.catalogue is not None and (not query.relevant or query.catalogue == METATOOL)


def _by_group(twins: Twins, places: Iterable[Place]) -> Mapping[str, list[Place]]:
    groups: dict[str, list[Place]] = {}
    for place in places:
        groups.setdefault(twins.get(place, place), []).append(place)
    return groups


def _seen(skill: RoutedSkill, features: Features, right: set[Place]) -> Seen:
    place = _place(skill.catalogue, skill.path)
    twins = tuple(_place(twin.catalogue, twin.path) for twin in skill.twins)
    return Seen(
        place=place,
        twins=twins,
        features=features,
        right=not right.isdisjoint({place, *twins}),
        scores=skill.scores.model_dump(),
    )


def _place(catalogue: str, path: str) -> Place:
    return f"{catalogue}/{path}" if path else catalogue


def write_observations(file: Path, observations: Iterable[Observation]) -> None:
    """One JSON object a line."""
    with file.open("w", encoding="utf-8") as lines:
        for observation in observations:
            lines.write(json.dumps(asdict(observation)) + "\n")


def read_observations(file: Path) -> list[Observation]:
    """What `write_observations` wrote."""
    with file.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [
        Observation(
            **row
            | {
                "condition": Condition(row["condition"]),
                "around": Surroundings(**row["around"]),
                "skills": tuple(
                    Seen(**seen | {"twins": tuple(seen["twins"])}) for seen in row["skills"]
                ),
            }
        )
        for row in rows
    ]
