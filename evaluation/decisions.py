"""Decision lines: every figure of a report that is about decisions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from app.routing.decide import Situation, decide
from evaluation.decision_metrics import LOADS, DecisionRow, false_loads, report
from evaluation.fitting import (
    NO_TOOL,
    OnStep,
    catalogues_of,
    fitting_queries,
    observe_all,
    scopes_of,
    within_catalogues,
    without_each,
)
from evaluation.observations import Condition, Observation, Observer
from evaluation.prepare import WHOLE_SETS, Material
from evaluation.result import DecisionLine, PromiseLine
from evaluation.systems import Bench
from evaluation.types import POOL
from evaluation.written import WRITTEN
from reranker.decision import probabilities
from reranker.policy import Policy

PROMISED = (0.05, 0.1, 0.2)

WITHOUT = "fitted without this catalogue"


def judge(
    observation: Observation, policy: Policy, max_false_load: float | None = None
) -> DecisionRow:
    """What the router would have decided by this policy, by the router's own functions."""
    features = [seen.features for seen in observation.skills]
    scale = policy.scale_in(observation.scored_by, observation.around)
    decision = decide(
        probabilities(features, scale),
        scale,
        Situation(
            named=observation.named,
            visible=observation.visible,
            searchable=observation.searchable,
        ),
        max_false_load=max_false_load,
    )
    return DecisionRow(
        qid=observation.qid,
        source=observation.source,
        p_useful=decision.confidence,
        decision=decision.verdict.value,
        useful=observation.useful,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Observations that are reported together: useful ones and one kind of useless ones."""

    rows: str
    useless: str  # what these are, in words
    source: str
    scope: str
    observations: tuple[Observation, ...]
    alike: bool = False  # every set, or catalogue, counts alike in the balanced accuracy


async def decision_lines(
    bench: Bench, material: Material, *, on_step: OnStep
) -> tuple[tuple[DecisionLine, ...], tuple[PromiseLine, ...]]:
    """Every figure about decisions; routes each query of the material under every condition.

    For labelled rows also those of policies fitted without the catalogue that they are judged
    on, from the other catalogues' train and calibration rows, which are routed for it too.
    """
    observer = Observer(bench, material.twins, material.clusters)
    if material.labelled is None:
        seen = await observe_all(observer, material.queries, [POOL], on_step)
        decisions, promises = lines_of(own_cases(seen), lambda _: bench.policy, bench.policy.id)
        return tuple(decisions), tuple(promises)
    labelled = [query for query in material.queries if query.source not in WRITTEN]
    within = within_catalogues(labelled)
    cases = labelled_cases(
        await observe_all(observer, within, catalogues_of(within), on_step),
        await observe_all(observer, labelled, [POOL], on_step),
    )
    fitting = fitting_queries(material.labelled)
    seen = await observe_all(observer, fitting, scopes_of(fitting), on_step)
    elsewhere = without_each(seen, material.labelled, bench.policy)
    held_out = [
        case for case in cases if all(each.scope in elsewhere for each in case.observations)
    ]
    decisions, promises = lines_of(cases, lambda _: bench.policy, bench.policy.id)
    further, kept = lines_of(held_out, lambda each: elsewhere[each.scope], WITHOUT)
    return (*decisions, *further), (*promises, *kept)


OTHER_CASES = (
    ("present or negative", "real negatives", "uipath", {"uipath"}, Condition.NEGATIVE),
    (
        "present or weak negative",
        "negatives that nobody checked",
        "nvidia-none",
        {"nvidia", "nvidia-none"},
        Condition.NEGATIVE,
    ),
    (
        "present or no tool needed",
        "requests that need no tool, and uipath's real negatives",
        NO_TOOL,
        WHOLE_SETS | {NO_TOOL},
        Condition.NEGATIVE,
    ),
    (
        "tools or none",
        "tasks that need no tool",
        "metatool-awareness",
        {"metatool-awareness"},
        Condition.NEGATIVE,
    ),
    (
        "offered or withheld",
        "right tool withheld",
        "metatool-reliability",
        {"metatool-reliability"},
        Condition.WITHHELD,
    ),
)
"""Rows, what the useless ones are, name, sets, and the condition of the useless ones."""


def labelled_cases(inside: Sequence[Observation], over_all: Sequence[Observation]) -> list[Case]:
    """The cases of the labelled sets; those that lack useful or useless rows are left out."""
    whole = [each for each in inside if each.source in WHOLE_SETS]
    cases = [
        *(
            _removal(source, [each for each in whole if each.source == source])
            for source in sorted(WHOLE_SETS)
        ),
        _removal("every catalogue alike", whole, scope="catalogues"),
        *(
            _case(
                rows,
                useless,
                source,
                [each for each in inside if each.source in sets],
                kind,
                "catalogues" if source == NO_TOOL else None,
            )
            for rows, useless, source, sets, kind in OTHER_CASES
        ),
        _removal("every set alike", over_all, scope=POOL),
    ]
    return [case for case in cases if len({each.useful for each in case.observations}) == 2]


def own_cases(observations: Sequence[Observation]) -> list[Case]:
    """The cases of an operator's own file."""
    source = observations[0].source if observations else ""
    cases = [
        _removal(source, observations),
        _case("present or null", "rows that expect null", source, observations, Condition.NEGATIVE),
    ]
    return [case for case in cases if len({each.useful for each in case.observations}) == 2]


def _removal(source: str, observations: Sequence[Observation], scope: str | None = None) -> Case:
    kind = Condition.REMOVED
    return _case("present or removed", "right skill removed", source, observations, kind, scope)


def _case(
    rows: str,
    useless: str,
    source: str,
    observations: Sequence[Observation],
    kind: Condition,
    scope: str | None = None,
) -> Case:
    """Those of the observations with the right skill there, or useless in this one way."""
    chosen = tuple(each for each in observations if each.condition in (Condition.PRESENT, kind))
    return Case(
        rows=rows,
        useless=useless,
        source=source,
        scope=scope or (chosen[0].scope if chosen else ""),
        observations=chosen,
        alike=scope is not None,
    )


def lines_of(
    cases: Sequence[Case], policy_for: Callable[[Observation], Policy], name: str
) -> tuple[list[DecisionLine], list[PromiseLine]]:
    """The figures of each case, every observation judged by the policy for it."""
    decisions = [
        DecisionLine(
            rows=case.rows,
            source=case.source,
            scope=case.scope,
            policy=name,
            report=report(
                [judge(each, policy_for(each)) for each in case.observations],
                clusters=[each.component for each in case.observations],
                strata=[each.group for each in case.observations] if case.alike else None,
            ),
        )
        for case in cases
    ]
    promises = [
        _promise(case, policy_for, name, tolerated) for case in cases for tolerated in PROMISED
    ]
    return decisions, promises


def _promise(
    case: Case, policy_for: Callable[[Observation], Policy], name: str, tolerated: float
) -> PromiseLine:
    judged = [judge(each, policy_for(each), tolerated) for each in case.observations]
    return PromiseLine(
        negatives=f"{case.source}: {case.useless}",
        scope=case.scope,
        policy=name,
        max_false_load=tolerated,
        false_loads=false_loads(judged),
        loads_of_useful=float(np.mean([row.decision in LOADS for row in judged if row.useful])),
    )
