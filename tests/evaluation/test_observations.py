"""Observations over the sample skills: what is visible under each condition, and what is kept."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import pytest_asyncio

from app.settings import AppSettings
from evaluation.decisions import judge
from evaluation.observations import (
    Condition,
    Observation,
    Observer,
    read_observations,
    write_observations,
)
from evaluation.systems import Bench, open_bench
from evaluation.types import POOL, Query
from indexer.settings import IndexerSettings
from reranker.decision import FEATURES
from tests.evaluation.rows import a_query
from tests.support import CATALOGUE, EXAMPLES, index_folder

PDF = f"{CATALOGUE}/documents/pdf-merge-split"
FORMS = f"{CATALOGUE}/documents/pdf-form-filling"
MERGE = "merge the scanned pages into one PDF"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    folder = tmp_path_factory.mktemp("bench")
    await index_folder(IndexerSettings(data_dir=folder), EXAMPLES / "skills", CATALOGUE)
    async with open_bench(AppSettings(data_dir=folder)) as opened:
        yield opened


async def observed(
    bench: Bench, *queries: Query, twins: Mapping[str, str] | None = None, scope: str = CATALOGUE
) -> list[Observation]:
    return await Observer(bench, twins or {}, {}).observe(queries, scope)


def merge(**others: object) -> Query:
    return a_query("merge", PDF, text=MERGE, catalogue=CATALOGUE, **others)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_right_skill_is_seen_and_then_removed(bench: Bench) -> None:
    present, removed = await observed(bench, merge())
    assert (present.condition, removed.condition) == (Condition.PRESENT, Condition.REMOVED)
    assert present.useful and not removed.useful
    assert present.skills[0].place == PDF and present.skills[0].right
    assert PDF not in {seen.place for seen in removed.skills} and removed.skills
    assert not any(seen.right for seen in removed.skills)


@pytest.mark.asyncio(loop_scope="module")
async def test_twins_are_right_and_go_with_the_right_skill(bench: Bench) -> None:
    present, removed = await observed(bench, merge(), twins={PDF: "g", FORMS: "g"})
    assert {seen.place for seen in present.skills if seen.right} == {PDF, FORMS}
    assert not {PDF, FORMS} & {seen.place for seen in removed.skills}


@pytest.mark.asyncio(loop_scope="module")
async def test_a_query_without_a_right_skill_is_a_negative(bench: Bench) -> None:
    (found,) = await observed(bench, a_query("thanks", text="thank you", catalogue=CATALOGUE))
    assert (found.condition, found.useful) == (Condition.NEGATIVE, False)


@pytest.mark.asyncio(loop_scope="module")
async def test_candidates_are_all_that_is_visible_and_the_withheld_one_comes_and_goes(
    bench: Bench,
) -> None:
    query = a_query("merge", text=MERGE, catalogue=CATALOGUE, candidates=(FORMS,), withheld=(PDF,))
    offered, withheld = await observed(bench, query)
    assert {seen.place for seen in offered.skills} == {FORMS, PDF} and offered.useful
    assert {seen.place for seen in withheld.skills} == {FORMS} and not withheld.useful


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "query",
    [
        merge(names_skill=True),
        merge(weak_positive=True),
        a_query("gone", f"{CATALOGUE}/not/indexed", catalogue=CATALOGUE),
        a_query("elsewhere", PDF, catalogue="other/catalogue"),
    ],
)
async def test_rows_that_would_say_nothing_are_left_out(bench: Bench, query: Query) -> None:
    assert await observed(bench, query) == []


@pytest.mark.asyncio(loop_scope="module")
async def test_a_catalogues_negative_says_nothing_of_the_pool(bench: Bench) -> None:
    negative = a_query("thanks", text="thank you", catalogue=CATALOGUE)
    assert await observed(bench, negative, scope=POOL) == []
    everywhere = a_query("thanks", text="thank you", catalogue=None)
    assert len(await observed(bench, everywhere, scope=POOL)) == 1


@pytest.mark.asyncio(loop_scope="module")
async def test_judging_an_observation_gives_the_routers_own_decision(bench: Bench) -> None:
    tasks = [MERGE, "thank you", "resize 40 photos", "the", "what is the capital of Peru?"]
    queries = [a_query(f"q{n}", text=task, catalogue=None) for n, task in enumerate(tasks)]
    found = await observed(bench, *queries, scope=POOL)
    for query, observation in zip(queries, found, strict=True):
        routed = await bench.reranked(POOL).answer(query.text)
        judged = judge(observation, bench.policy)
        assert judged.decision == routed.decision
        assert judged.p_useful == pytest.approx(routed.p_useful, abs=1e-4)


@pytest.mark.asyncio(loop_scope="module")
async def test_observations_are_read_back_as_they_were_written(
    bench: Bench, tmp_path: Path
) -> None:
    found = await observed(bench, merge())
    assert found[0].skills[0].features.keys() == FEATURES.keys()
    write_observations(tmp_path / "seen.jsonl", found)
    assert read_observations(tmp_path / "seen.jsonl") == found
