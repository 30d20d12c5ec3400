"""Near-miss pairs: a task and one skill, decided by that skill's own probability."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
from pytest import TempPathFactory, approx, mark

from app.routing.contract import RouteFilters, RouteRequest
from app.routing.router import Timings
from app.settings import AppSettings
from evaluation.prepare import Material
from evaluation.result import DecisionLine
from evaluation.systems import Bench, open_bench
from evaluation.trigger_pairs import DEPTH, trigger_lines
from evaluation.types import Split, TriggerPair
from indexer.settings import IndexerSettings
from reranker.policy import FALLBACK
from tests.support import CATALOGUE, EXAMPLES, index_folder

pytestmark = mark.asyncio(loop_scope="module")

MERGE = f"{CATALOGUE}/pdf-merge-split"
TASK = "merge the three signed contracts into one PDF and drop the blank pages"
SMALL_TALK = "what is the capital of Peru?"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(tmp_path_factory: TempPathFactory) -> AsyncIterator[Bench]:
    folder = tmp_path_factory.mktemp("pairs")
    settings = IndexerSettings(data_dir=folder, encoder="hashing")
    await index_folder(settings, EXAMPLES / "skills" / "documents", CATALOGUE)
    opened = AppSettings(data_dir=folder, encoder="hashing", reranker=FALLBACK)
    async with open_bench(opened) as bench:
        yield bench


def a_pair(text: str, should_load: bool, place: str = MERGE, **others: Any) -> TriggerPair:
    return TriggerPair(
        qid=text, text=text, place=place, should_load=should_load, split=Split.TEST, **others
    )


async def lines(bench: Bench, *pairs: TriggerPair) -> list[DecisionLine]:
    material = Material(
        queries=(), labelled=None, twins={}, clusters={}, whole=frozenset(), pairs=pairs
    )
    return await trigger_lines(bench, material, on_step=lambda _: None)


async def test_a_pair_is_judged_by_the_probability_of_its_own_skill(bench: Bench) -> None:
    (line,) = await lines(bench, a_pair(TASK, True), a_pair(SMALL_TALK, False))
    filters = RouteFilters(catalogues=[CATALOGUE])
    request = RouteRequest(task=TASK, k=DEPTH, filters=filters)
    answer = await bench.parts.router.answer(request, bench.snapshot, Timings())
    skills = {skill.path: skill.p_useful for skill in (*answer.skills, *answer.not_loaded)}
    points = line.report.calibration.points
    assert max(point.predicted for point in points) == approx(skills["pdf-merge-split"])
    assert (line.report.rows, line.report.useful, line.report.auroc) == (2, 1, 1.0)
    assert (line.rows, line.scope, line.policy) == (
        "near-miss pairs",
        "catalogues",
        bench.policy.id,
    )


async def test_a_skill_that_is_not_what_the_task_needs_is_not_loaded_for_it(bench: Bench) -> None:
    other = f"{CATALOGUE}/scanned-document-ocr"
    (line,) = await lines(bench, a_pair(TASK, True), a_pair(TASK, False, other))
    assert line.report.false_loads.loads == 0 and line.report.auroc == 1.0


async def test_pairs_that_name_their_skill_or_whose_skill_is_not_indexed_are_left_out(
    bench: Bench,
) -> None:
    kept = a_pair(TASK, True), a_pair(SMALL_TALK, False)
    left_out = (
        a_pair("use pdf merge split for the contracts", True, names_skill=True),
        a_pair("merge the contracts", True, f"{CATALOGUE}/not/indexed"),
    )
    (line,), (same,) = await lines(bench, *kept, *left_out), await lines(bench, *kept)
    assert line.report.rows == 2 and line.report.calibration == same.report.calibration


async def test_pairs_of_one_kind_say_nothing(bench: Bench) -> None:
    assert await lines(bench, a_pair(TASK, True), a_pair("merge them", True)) == []
    assert await lines(bench) == []


async def test_pairs_of_one_skill_are_no_independent_draws(bench: Bench) -> None:
    tasks = ["merge the contracts", "split page 3 off the PDF", SMALL_TALK, "thank you"]
    (line,) = await lines(bench, *(a_pair(task, n < 2) for n, task in enumerate(tasks)))
    interval = line.report.auroc_interval
    assert interval.low == interval.high == line.report.auroc  # one skill, always drawn whole
