"""POST /v1/explain: why a skill was or was not offered, stage by stage."""

from __future__ import annotations

import asyncio
import math
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import prometheus_client
import pytest
import pytest_asyncio
from sqlalchemy import func, select, update

from app.api.dependencies import Parts
from app.main import create_app, open_parts
from app.routing.course import EXPLAIN_REASONS
from app.routing.explained import ExplainRequest
from app.settings import AppSettings
from core import store
from core.db import ledger_url, open_database, read
from core.tables import routes, skill_rows
from core.types import Trust, skill_id
from evaluation.removal import without
from indexer.settings import IndexerSettings
from tests.support import CATALOGUE, EXAMPLES, index_folder

pytestmark = pytest.mark.asyncio(loop_scope="module")

STAGES = ["visible", "lexical", "dense", "fused", "named", "rerank", "decision", "offered"]
PDF_TASK = "three scanned contracts have to become one PDF without the blank pages"
ARMS = 30  # skills that an arm returns here

ODD = "acme/odd"
PDF = skill_id(CATALOGUE, "documents/pdf-merge-split")
FAR = skill_id(CATALOGUE, "finance/discounted-cash-flow")
FORBIDDEN = skill_id(CATALOGUE, "devops/production-release-cut")
COPY, BREAD, SHUT = (skill_id(ODD, path) for path in ("copy", "bread", "shut"))
BREAD_FILE = """---
name: bread-baking
description: Bakes sourdough. NOT for cakes.
---
# Do
Knead.
"""


@pytest.fixture(scope="module")
def data_dir(indexed_examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample skills, a copy of one of them, one that excludes a use, and a quarantined one."""
    folder = tmp_path_factory.mktemp("explain")
    shutil.copytree(indexed_examples, folder / "data")
    source = folder / "source"
    shutil.copytree(EXAMPLES / "skills" / "documents" / "pdf-merge-split", source / "copy")
    for path in ("bread", "shut"):
        (source / path).mkdir()
        (source / path / "SKILL.md").write_text(BREAD_FILE.replace("bread-", f"{path}-"))
    settings = IndexerSettings(data_dir=folder / "data")
    asyncio.run(index_folder(settings, source, ODD))
    asyncio.run(_quarantine(settings.catalogue_url, SHUT))
    return folder / "data"


async def _quarantine(url: Any, skill: str) -> None:
    engine = await open_database(url, create=False)
    async with engine.begin() as connection:
        shut = update(skill_rows).where(skill_rows.c.skill_id == skill)
        await connection.execute(shut.values(trust=Trust.QUARANTINED))
    await engine.dispose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def parts(data_dir: Path) -> AsyncIterator[Parts]:
    settings = AppSettings(data_dir=data_dir, candidates=ARMS, rerank_depth=5, rerank_deadline_s=30)
    async with open_parts(settings) as opened:
        yield opened


async def explain(
    client: httpx.AsyncClient, skill: str, task: str = PDF_TASK, **more: Any
) -> dict[str, Any]:
    response = await client.post("/v1/explain", json={"task": task, "skill": skill, **more})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    assert [stage["stage"] for stage in answer["stages"]] == STAGES
    assert all(stage["says"].endswith(".") for stage in answer["stages"])
    return (
        answer
        | {stage["stage"]: stage for stage in answer["stages"]}
        | {"offered": answer["offered"]}
    )


async def route(client: httpx.AsyncClient, task: str = PDF_TASK, **more: Any) -> dict[str, Any]:
    response = await client.post("/v1/route", json={"task": task, **more})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def every_skill(client: httpx.AsyncClient) -> list[str]:
    page = (await client.get("/v1/skills", params={"limit": 500})).json()["skills"]
    return [skill["id"] for skill in page]


def logistic(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


async def test_an_offered_skill_passed_every_stage(client: httpx.AsyncClient) -> None:
    best = (await route(client))["skills"][0]
    found = await explain(client, best["id"])
    assert (found["offered"], found["not_offered"]) == (True, None)
    assert (found["id"], found["path"], found["digest"]) == (
        best["id"],
        best["path"],
        best["digest"],
    )
    assert (found["section"], found["snippet"]) == (best["section"], best["snippet"])
    assert (found["visible"]["visible"], found["visible"]["hidden_by"]) == (True, [])
    assert (found["lexical"]["rank"], found["dense"]["rank"], found["fused"]["rank"]) == (1, 1, 1)
    assert found["lexical"]["score"] == best["scores"]["lexical"]
    assert found["dense"]["cosine"] == best["scores"]["dense"]
    assert found["fused"]["score"] == best["scores"]["fused"] and found["fused"]["read_back"]
    assert (found["rerank"]["score"], found["rerank"]["place"]) == (best["scores"]["rerank"], 1)
    assert found["decision"]["p_useful"] >= found["decision"]["load"]


async def test_a_near_miss_says_which_threshold_it_missed(client: httpx.AsyncClient) -> None:
    near = (await route(client))["not_loaded"][0]
    found = await explain(client, near["id"])
    assert (found["offered"], found["not_offered"]) == (False, near["reason"])
    assert near["reason"] == "not_useful_enough"
    assert found["decision"]["p_useful"] < found["decision"]["load"]
    assert f"load starts at {found['decision']['load']:.2f}" in found["decision"]["says"]


@pytest.mark.parametrize(
    ("filters", "hidden_by"),
    [
        ({"catalogues": [ODD]}, ["catalogue"]),
        ({"licences": ["MIT"]}, ["licence"]),
        ({"languages": ["de"]}, ["language"]),
        ({"tags": ["pdf", "no such tag"]}, ["tags"]),
        ({"trust_floor": "reviewed"}, ["trust_floor"]),
        ({"licences": ["MIT"], "languages": ["de"]}, ["licence", "language"]),
    ],
)
async def test_each_filter_that_hides_a_skill_is_named(
    client: httpx.AsyncClient, filters: dict[str, Any], hidden_by: list[str]
) -> None:
    found = await explain(client, PDF, filters=filters)
    assert (found["visible"]["visible"], found["visible"]["hidden_by"]) == (False, hidden_by)
    assert (found["lexical"]["rank"], found["dense"]["rank"]) == (None, None)
    assert found["not_offered"] == "hidden"


async def test_a_filter_that_a_skill_passes_is_not_named(client: httpx.AsyncClient) -> None:
    passed = {"licences": ["apache-2.0"], "languages": ["EN"], "catalogues": [CATALOGUE]}
    assert (await explain(client, PDF, filters=passed))["visible"]["hidden_by"] == []


@pytest.mark.parametrize(
    ("skill", "hidden_by"), [(FORBIDDEN, "not_routable"), (SHUT, "quarantined")]
)
async def test_a_skill_that_is_never_routed_is_judged_all_the_same(
    client: httpx.AsyncClient, skill: str, hidden_by: str
) -> None:
    found = await explain(client, skill, "bake bread, then cut the release")
    assert (found["visible"]["hidden_by"], found["not_offered"]) == ([hidden_by], "hidden")
    assert 0 < found["decision"]["p_useful"] < 1 and found["dense"]["cosine"] is not None


async def test_a_skill_that_the_index_does_not_hold_is_said_to_be_missing(parts: Parts) -> None:
    async with read(parts.engine) as connection:
        version = await store.live_skill(connection, PDF)
    assert version is not None
    snapshot = without(parts.follower.snapshot, [version.row])
    found = await parts.router.explain(ExplainRequest(task=PDF_TASK, skill=PDF), snapshot)
    visible = found.stages[0]
    assert visible.stage == "visible" and visible.hidden_by == ["not_indexed"]


async def test_a_skill_that_no_arm_returned_is_judged_as_if_it_came_last(
    client: httpx.AsyncClient,
) -> None:
    found = await explain(client, FAR)
    assert found["not_offered"] == "not_returned"
    assert found["dense"]["rank"] > ARMS and found["lexical"]["rank"] > ARMS
    assert (found["fused"]["rank"], found["fused"]["read_back"]) == (None, False)
    assert (found["rerank"]["score"], found["rerank"]["place"]) == (None, None)
    last = (await route(client, k=10))["not_loaded"][-1]
    assert found["decision"]["p_useful"] <= last["p_useful"] + 1e-4
    assert found["decision"]["p_useful"] <= found["decision"]["by_itself"]
    assert found["decision"]["says"].startswith("Read back and last in the order, it would help")


async def test_a_skill_behind_the_best_is_said_to_have_been_left(client: httpx.AsyncClient) -> None:
    second = [*(await route(client))["skills"], *(await route(client))["not_loaded"]][1]
    found = await explain(client, second["id"], k=1)
    assert (found["not_offered"], found["rerank"]["place"]) == ("beyond_k", 2)


async def test_a_twin_is_folded_into_the_better_placed(client: httpx.AsyncClient) -> None:
    kept = (await route(client))["skills"][0]
    (other,) = {PDF, COPY} - {kept["id"]}
    found = await explain(client, other)
    assert found["not_offered"] == "twin" and found["fused"]["read_back"]
    assert found["rerank"]["twin_of"]["id"] == kept["id"]
    assert found["rerank"]["place"] is None
    own = (await explain(client, kept["id"]))["decision"]
    assert found["decision"]["p_useful"] <= own["p_useful"]


async def test_a_call_by_name_is_told_and_a_shared_name_calls_nobody(
    client: httpx.AsyncClient,
) -> None:
    called = await explain(client, BREAD, "use the bread-baking skill")
    assert called["named"]["named"] and called["rerank"]["place"] == 1
    assert not (await explain(client, BREAD))["named"]["named"]
    shared = await explain(client, PDF, "use the pdf-merge-split skill")
    assert not shared["named"]["named"] and "others" in shared["named"]["says"]


async def test_the_tasks_words_are_parted_into_held_lacking_and_excluded(
    client: httpx.AsyncClient,
) -> None:
    found = await explain(client, BREAD, "bake sourdough cakes tonight")
    words = {
        name: {word["word"] for word in found["lexical"][name]}
        for name in ("held", "lacking", "excluded")
    }
    assert words["held"] >= {"bake", "sourdough"} and not words["held"] & words["lacking"]
    assert words["excluded"] == {"cake"}
    weights = [word["idf"] for word in found["lexical"]["lacking"]]
    assert weights == sorted(weights, reverse=True)


@pytest.mark.parametrize("skill", [PDF, FAR, BREAD, COPY, FORBIDDEN])
async def test_bias_and_contributions_are_the_logit_of_the_probability(
    client: httpx.AsyncClient, skill: str
) -> None:
    decision = (await explain(client, skill))["decision"]
    shares = decision["features"]
    assert all(each["contribution"] == each["weight"] * each["value"] for each in shares)
    logit = decision["bias"] + sum(each["contribution"] for each in shares)
    assert logit == pytest.approx(decision["logit"], rel=1e-12)
    assert logistic(logit) == pytest.approx(decision["by_itself"], rel=1e-12)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"k": 2},
        {"token_budget": 1},
        {"max_false_load": 0.1},
        {"filters": {"catalogues": [CATALOGUE]}},
        {"context": {"messages": ["about invoices"], "loaded": [PDF]}},
    ],
)
async def test_explain_and_route_agree(client: httpx.AsyncClient, more: dict[str, Any]) -> None:
    answer = await route(client, **more)
    offered = {skill["id"]: None for skill in answer["skills"]}
    reasons = offered | {skill["id"]: skill["reason"] for skill in answer["not_loaded"]}
    for skill in (*answer["skills"], *answer["not_loaded"]):
        found = await explain(client, skill["id"], **more)
        route_says = [answer[name] for name in ("reason", "confidence")]
        assert [found["reason"], found["confidence"]] == route_says
        assert round(found["decision"]["p_useful"], 4) == skill["p_useful"]
        assert found["not_offered"] == reasons[skill["id"]]
        assert found["fused"]["score"] == skill["scores"]["fused"]


async def test_places_are_the_order_of_the_answer(client: httpx.AsyncClient) -> None:
    answer = await route(client, k=4, filters={"catalogues": [CATALOGUE]})
    places = [
        (await explain(client, skill["id"], filters={"catalogues": [CATALOGUE]}))["rerank"]["place"]
        for skill in (*answer["skills"], *answer["not_loaded"])
    ]
    assert places == [1, 2, 3, 4]


async def test_of_all_skills_just_those_of_the_route_are_offered_and_the_rest_have_a_reason(
    client: httpx.AsyncClient,
) -> None:
    answer = await route(client)
    found = [await explain(client, skill) for skill in await every_skill(client)]
    offered = {each["id"] for each in found if each["offered"]}
    assert offered == {skill["id"] for skill in answer["skills"]}
    reasons = {each["not_offered"] for each in found if not each["offered"]}
    assert reasons == {*EXPLAIN_REASONS, "not_useful_enough"}


async def test_a_promise_that_cannot_be_kept_has_no_threshold(client: httpx.AsyncClient) -> None:
    decision = (await explain(client, PDF, max_false_load=0.0001))["decision"]
    assert decision["load"] is None and "no promise" in decision["says"]


async def test_route_explains_each_skill_of_its_answer(client: httpx.AsyncClient) -> None:
    answer = await route(client, explain=True)
    skills = [*answer["skills"], *answer["not_loaded"]]
    staged = answer["explain"]["stages"]
    assert list(staged) == [skill["id"] for skill in skills]
    for skill in skills:
        stages = {stage["stage"]: stage for stage in staged[skill["id"]]}
        assert list(stages) == STAGES
        assert stages["lexical"]["score"] == skill["scores"]["lexical"]
        assert stages["dense"]["cosine"] == skill["scores"]["dense"]
        alone = await explain(client, skill["id"])
        assert [stages[name] for name in ("decision", "offered", "rerank", "fused")] == [
            alone["decision"],
            alone["stages"][-1],
            alone["rerank"],
            alone["fused"],
        ]


async def recorded(parts: Parts) -> int:
    catalogue_url = parts.engine.url.render_as_string(hide_password=False)
    ledger = await open_database(ledger_url(catalogue_url), create=False)
    async with read(ledger) as connection:
        count = await connection.scalar(select(func.count()).select_from(routes))
    await ledger.dispose()
    return int(count or 0)


def counted() -> list[float]:
    """Every value of the metrics that count routes."""
    names = ("loadstar_routes", "loadstar_stage_seconds")
    return [
        sample.value
        for metric in prometheus_client.REGISTRY.collect()
        if metric.name in names
        for sample in metric.samples
    ]


async def test_an_explanation_is_neither_recorded_nor_counted(
    client: httpx.AsyncClient, parts: Parts
) -> None:
    await route(client)
    before = await recorded(parts), counted()
    await explain(client, PDF)
    assert (await recorded(parts), counted()) == before
    assert before[0] > 0 and sum(before[1]) > 0


async def test_an_explanation_is_admitted_as_a_route_is(data_dir: Path) -> None:
    async with open_parts(AppSettings(data_dir=data_dir, max_in_flight=1)) as parts:
        transport = httpx.ASGITransport(create_app(parts))
        async with httpx.AsyncClient(transport=transport, base_url="http://loadstar") as client:
            body = {"task": PDF_TASK, "skill": PDF}
            both = [client.post("/v1/explain", json=body) for _ in range(2)]
            answers = await asyncio.gather(*both)
    assert sorted(answer.status_code for answer in answers) == [200, 429]


async def test_an_unknown_skill_is_not_found(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/explain", json={"task": PDF_TASK, "skill": "skl_nothing"})
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "body",
    [
        {"task": PDF_TASK},
        {"skill": PDF},
        {"task": "", "skill": PDF},
        {"task": PDF_TASK, "skill": 7},
        {"task": PDF_TASK, "skill": PDF, "include": "body"},
        {"task": PDF_TASK, "skill": PDF, "k": 0},
        {"task": PDF_TASK, "skill": PDF, "filters": {"catalogues": ["no/such"]}},
    ],
)
async def test_a_wrong_body_is_refused(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    assert (await client.post("/v1/explain", json=body)).status_code == 422


async def test_a_task_without_words_is_explained(client: httpx.AsyncClient) -> None:
    found = await explain(client, PDF, "?!")
    assert found["reason"] == "no_words"
    assert (found["lexical"]["held"], found["lexical"]["score"]) == ([], None)
