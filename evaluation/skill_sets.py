"""Sets of skills: whether what a task needs is in them, for how many tokens, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.routing.contract import MAX_TASK_CHARS, RoutedSkill, RouteFilters, RouteRequest
from app.routing.needs import ADDED_FROM, MOST_SKILLS
from app.routing.router import Timings
from evaluation.bootstrap import mean_interval
from evaluation.fitting import OnStep
from evaluation.prepare import WHOLE_SETS, Material
from evaluation.result import SetLine
from evaluation.retrieval_metrics import UNNAMED, Twins, standing
from evaluation.systems import Bench
from evaluation.types import Place, Query
from evaluation.written import TASKS

BUDGETS = (1_000, 2_000, 4_000)
"""Tokens of bodies; one has some 950 at the median, as they are cut in the data."""

DEPTH = 16
"""Skills that an answer is asked for: half of those read back, since twins collapse."""

SINGLE, SEVERAL = "one skill needed", "several skills needed"

Skills = Sequence[RoutedSkill]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A task's skills as ranked by score, and the set that the router makes of them."""

    query: Query
    ranked: Skills
    members: Skills  # whatever the decision, which has tables of its own


async def set_lines(bench: Bench, material: Material, *, on_step: OnStep) -> list[SetLine]:
    """Sets for the written long tasks over the pool, and for labelled queries in their catalogues,
    beside as many or as costly skills from the top of the same ranking.

    Queries that name their skill, and weak positives, are left out.
    """
    asked = [query for query in material.queries if query.relevant and standing(query) in UNNAMED]
    tasks = [query for query in asked if query.source == TASKS]
    inside = [query for query in asked if query.source in WHOLE_SETS]
    on_step(f"sets of skills: {len(tasks) + len(inside)} tasks")
    found: dict[tuple[str, str], list[Answered]] = {}
    for query in (*tasks, *inside):
        rows = SEVERAL if len(query.relevant) > 1 else SINGLE
        found.setdefault((rows, query.source), []).append(await _answer(bench, query))
    return [
        line
        for (rows, source), answered in sorted(found.items())
        for line in lines_of(rows, source, answered, material.twins, material.clusters)
    ]


async def _answer(bench: Bench, query: Query) -> Answered:
    filters = RouteFilters(catalogues=[query.catalogue] if query.catalogue else [])
    request = RouteRequest(task=query.text[:MAX_TASK_CHARS], k=DEPTH, filters=filters)
    answer = await bench.parts.router.answer(request, bench.snapshot, Timings())
    skills = (*answer.skills, *answer.not_loaded)
    in_order = sorted(skills, key=lambda skill: -skill.p_useful)
    return Answered(query=query, ranked=sorted(skills, key=_by_score), members=members(in_order))


def members(skills: Skills) -> Skills:
    """The set that skills in order make where each may be loaded."""
    adding = [skill for skill in skills[1:] if skill.p_useful >= ADDED_FROM]
    return [*skills[:1], *adding][:MOST_SKILLS]


def _by_score(skill: RoutedSkill) -> tuple[bool, bool, float]:
    return (not skill.exact_name, skill.scores.rerank is None, -skill.scores.final)


def within(skills: Skills, budget: int) -> Skills:
    """The skills in order, those left out that are more than is left of the tokens."""
    taken: list[RoutedSkill] = []
    for skill in skills:
        if sum(each.tokens.body for each in taken) + skill.tokens.body <= budget:
            taken.append(skill)
    return taken


def lines_of(
    rows: str,
    source: str,
    answered: Sequence[Answered],
    twins: Twins,
    clusters: Mapping[str, str],
) -> Iterator[SetLine]:
    """A line for each way to choose among the same skills."""
    ways = {
        "set": [each.members for each in answered],
        "as many from the top": [each.ranked[: len(each.members)] for each in answered],
    }
    for tokens in BUDGETS if rows == SEVERAL else ():
        ways[f"set, {tokens:,} tokens"] = [within(each.members, tokens) for each in answered]
        ways[f"top, {tokens:,} tokens"] = [within(each.ranked, tokens) for each in answered]
    cluster = [clusters[each.query.qid] for each in answered]
    for name, chosen in ways.items():
        shares = [
            covered(each.query, taken, twins) for each, taken in zip(answered, chosen, strict=True)
        ]
        yield SetLine(
            rows=rows,
            source=source,
            chosen=name,
            full_coverage=mean_interval([float(each == 1) for each in shares], clusters=cluster),
            coverage=mean_interval(shares, clusters=cluster),
            exactly_one=float(np.mean([len(taken) == 1 for taken in chosen])),
            skills=float(np.mean([len(taken) for taken in chosen])),
            tokens=float(np.mean([sum(s.tokens.body for s in taken) for taken in chosen])),
        )


def covered(query: Query, taken: Skills, twins: Twins) -> float:
    """The share of the skills needed that were taken, a twin for its own."""
    needed = {twins.get(place, place) for place in query.relevant}
    places = [place for skill in taken for place in _places(skill)]
    return len(needed & {twins.get(place, place) for place in places}) / len(needed)


def _places(skill: RoutedSkill) -> list[Place]:
    own = (skill.catalogue, skill.path)
    others = ((twin.catalogue, twin.path) for twin in skill.twins)
    return [f"{catalogue}/{path}".rstrip("/") for catalogue, path in (own, *others)]
