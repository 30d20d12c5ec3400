"""Near-miss pairs: a task and one skill, with whether that skill should load for it."""

from __future__ import annotations

from app.routing.contract import MAX_TASK_CHARS, RouteFilters, RouteRequest
from app.routing.router import Timings
from core.types import skill_id
from evaluation.decision_metrics import DecisionRow, report
from evaluation.fitting import OnStep
from evaluation.prepare import Material
from evaluation.result import DecisionLine
from evaluation.systems import Bench
from evaluation.types import TriggerPair, catalogue_of

SOURCE = "trigger-evals"
DEPTH = 16
"""Skills that an answer is asked for: half of those read back, since twins collapse."""


async def trigger_lines(bench: Bench, material: Material, *, on_step: OnStep) -> list[DecisionLine]:
    """Pairs within the skill's catalogue, as far as it is indexed, by the skill's own `p_useful`.

    A skill that was not read back has none: 0. Pairs that name the skill are left out.
    """
    pairs = [pair for pair in material.pairs if pair.place in bench.rows and not pair.names_skill]
    if len({pair.should_load for pair in pairs}) < 2:
        return []
    on_step(f"near-miss pairs: {len(pairs)}")
    rows = [await _row(bench, pair) for pair in pairs]
    return [
        DecisionLine(
            rows="near-miss pairs",
            source=SOURCE,
            scope="catalogues",
            policy=bench.policy.id,
            report=report(rows, clusters=[pair.place for pair in pairs]),
        )
    ]


async def _row(bench: Bench, pair: TriggerPair) -> DecisionRow:
    catalogue = catalogue_of(pair.place)
    request = RouteRequest(
        task=pair.text[:MAX_TASK_CHARS], k=DEPTH, filters=RouteFilters(catalogues=[catalogue])
    )
    answer = await bench.parts.router.answer(request, bench.snapshot, Timings())
    wanted = skill_id(catalogue, pair.place[len(catalogue) + 1 :])
    held = [
        skill
        for skill in (*answer.skills, *answer.not_loaded)
        if wanted in (skill.id, *(twin.id for twin in skill.twins))
    ]
    offered = any(skill in answer.skills for skill in held)
    return DecisionRow(
        qid=pair.qid,
        source=SOURCE,
        p_useful=max((skill.p_useful for skill in held), default=0.0),
        decision=answer.decision if offered else "none",
        useful=pair.should_load,
    )
