"""POST /v1/route over the sample skills, as a new user would try it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from app.api.dependencies import Parts
from app.routing.decide import NOT_LOADED_REASONS
from core.db import ledger_url, open_database, read
from core.tables import routes
from core.types import skill_id
from reranker.load import OWN_RERANKER
from reranker.policy import SHIPPED, load_policy
from tests.support import CATALOGUE, EXAMPLES

pytestmark = pytest.mark.asyncio(loop_scope="module")

TASKS = [json.loads(line) for line in (EXAMPLES / "tasks.jsonl").read_text().splitlines()]
MATCHING = [task for task in TASKS if task["expected"]]
FOREIGN = [task for task in TASKS if not task["expected"]]

PDF_TASK = "three scanned contracts have to become one PDF without the blank pages"


async def route(client: httpx.AsyncClient, task: str, **more: Any) -> dict[str, Any]:
    response = await client.post("/v1/route", json={"task": task, **more})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def paths(answer: dict[str, Any]) -> list[str]:
    return [skill["path"] for skill in (*answer["skills"], *answer["not_loaded"])]


async def test_a_matching_task_finds_its_skill_first(client: httpx.AsyncClient) -> None:
    answers = [(task, await route(client, task["task"])) for task in MATCHING]
    first = [task["expected"] == paths(answer)[0] for task, answer in answers]
    assert sum(first) / len(first) >= 0.95
    offered = [bool(answer["skills"]) for _, answer in answers]
    assert sum(offered) / len(offered) >= 0.9


async def test_most_tasks_without_a_skill_load_nothing(client: httpx.AsyncClient) -> None:
    loaded = [(await route(client, task["task"]))["decision"] == "load" for task in FOREIGN]
    assert sum(loaded) / len(loaded) <= 0.1


@pytest.mark.parametrize("task", ["tell me a joke about penguins", "thanks, that was great"])
async def test_small_talk_gets_none_with_a_reason_and_no_content(
    client: httpx.AsyncClient, task: str
) -> None:
    answer = await route(client, task, include="body")
    reason = "answerable_without"
    assert (answer["decision"], answer["reason"], answer["skills"]) == ("none", reason, [])
    assert all(skill["content"] is None for skill in answer["not_loaded"])
    assert all(skill["reason"] == "decision_none" for skill in answer["not_loaded"])


async def test_the_answer_says_what_it_rests_on(client: httpx.AsyncClient) -> None:
    answer = await route(client, PDF_TASK)
    shipped = load_policy(SHIPPED)
    scale = shipped.scale(answer["scored_by"])
    assert (answer["policy"], answer["calibration"]) == (shipped.id, scale.calibration)
    assert answer["scored_by"] == answer["models"]["reranker"] == OWN_RERANKER
    assert answer["recorded"] is True
    assert {"embed", "dense", "lexical", "rerank", "total"} <= answer["timings_ms"].keys()


async def test_skills_and_near_misses_together_hold_the_k_best(client: httpx.AsyncClient) -> None:
    few, many = await route(client, PDF_TASK, k=3), await route(client, PDF_TASK, k=8)
    assert len(paths(few)) == 3 and len(paths(many)) == 8
    assert paths(few) == paths(many)[:3]
    useful = [skill["p_useful"] for skill in (*many["skills"], *many["not_loaded"])]
    assert useful == sorted(useful, reverse=True)


async def test_route_and_v1_route_are_the_same(client: httpx.AsyncClient) -> None:
    short = (await client.post("/route", json={"task": PDF_TASK})).json()
    assert paths(short) == paths(await route(client, PDF_TASK))


async def test_content_comes_as_asked_for(client: httpx.AsyncClient) -> None:
    plain, full = await route(client, PDF_TASK), await route(client, PDF_TASK, include="body")
    assert plain["skills"][0]["content"] is None
    assert "#" in full["skills"][0]["content"]


async def test_a_budget_leaves_out_what_does_not_fit(client: httpx.AsyncClient) -> None:
    answer = await route(client, PDF_TASK, token_budget=1)
    assert (answer["decision"], answer["reason"], answer["skills"]) == ("none", "over_budget", [])
    fitting = await route(client, PDF_TASK, token_budget=700)
    spent = sum(skill["tokens"]["body"] for skill in fitting["skills"])
    assert fitting["decision"] == "load" and 0 < spent <= 700


async def test_a_loaded_skill_is_not_offered_again(client: httpx.AsyncClient) -> None:
    first = (await route(client, PDF_TASK))["skills"][0]
    answer = await route(client, PDF_TASK, context={"loaded": [first["id"]]})
    assert first["id"] not in {skill["id"] for skill in answer["skills"]}
    reasons = {skill["id"]: skill["reason"] for skill in answer["not_loaded"]}
    assert reasons[first["id"]] == "already_loaded"


@pytest.mark.parametrize(
    "call",
    [
        'use "sample-size-calculation"',
        "run /sample-size-calculation",
        "use the sample size calculation skill",
    ],
)
async def test_a_called_skill_comes_first(client: httpx.AsyncClient, call: str) -> None:
    answer = await route(client, f"split a PDF, then {call} for the rest")
    best = (*answer["skills"], *answer["not_loaded"])[0]
    assert best["name"] == "sample-size-calculation" and best["exact_name"]


TWO_NEEDS = (
    "customers_export.csv came out of the old till with shifted columns, cells that hold two "
    "values and dates in three forms; clean it for the warehouse loader, and list every row "
    "that you could not repair.\n"
    "After that take the eleven scanned delivery notes in scans/, put them into one PDF in the "
    "order of their dates, with a bookmark for each, and split off the last two pages."
)


async def test_filters_only_remove(client: httpx.AsyncClient) -> None:
    german = await route(client, PDF_TASK, filters={"languages": ["de"]}, k=50)
    skills = [*german["skills"], *german["not_loaded"]]
    assert skills and all(skill["language"] == "de" for skill in skills)


@pytest.mark.parametrize(
    ("task", "reason"), [(PDF_TASK, "filtered_out"), ("thanks!", "nothing_visible")]
)
async def test_filters_that_hide_everything_give_none(
    client: httpx.AsyncClient, task: str, reason: str
) -> None:
    answer = await route(client, task, filters={"licences": ["Nobody-1.0"]})
    assert (answer["decision"], answer["reason"]) == ("none", reason)
    assert (answer["skills"], answer["not_loaded"]) == ([], [])


async def test_a_filter_that_hides_the_right_skill_alone_is_said_to(
    client: httpx.AsyncClient,
) -> None:
    answer = await route(client, PDF_TASK, filters={"languages": ["de"]})
    assert (answer["decision"], answer["reason"]) == ("none", "filtered_out")
    assert all(skill["language"] == "de" for skill in answer["not_loaded"])


async def test_a_task_of_two_needs_gets_a_skill_for_each(client: httpx.AsyncClient) -> None:
    answer = await route(client, TWO_NEEDS)
    assert {skill["name"] for skill in answer["skills"]} >= {"csv-cleaning", "pdf-merge-split"}
    serves = {skill["name"]: " ".join(skill["serves"]) for skill in answer["skills"]}
    assert "cells" in serves["csv-cleaning"] and "PDF" in serves["pdf-merge-split"]


async def test_tasks_of_one_need_are_not_padded(client: httpx.AsyncClient) -> None:
    answers = [await route(client, task["task"]) for task in MATCHING]
    sizes = [len(answer["skills"]) for answer in answers if answer["decision"] == "load"]
    assert sizes.count(1) / len(sizes) >= 0.85
    padding = [skill for answer in answers for skill in answer["not_loaded"]]
    assert {skill["reason"] for skill in padding} <= NOT_LOADED_REASONS.keys()
    assert all(skill["serves"] == [] for skill in padding)


async def test_a_task_without_words_gives_none(client: httpx.AsyncClient) -> None:
    assert (await route(client, "?!"))["reason"] == "no_words"


async def test_a_skill_that_forbids_model_invocation_is_stored_and_never_routed(
    client: httpx.AsyncClient,
) -> None:
    page = (await client.get("/v1/skills", params={"limit": 500})).json()["skills"]
    (hidden,) = [skill for skill in page if not skill["routable"]]
    answer = await route(client, f'use "{hidden["name"]}": {hidden["description"]}', k=50)
    assert hidden["id"] not in {s["id"] for s in (*answer["skills"], *answer["not_loaded"])}


async def test_explain_shows_the_features_of_every_skill(client: httpx.AsyncClient) -> None:
    answer = await route(client, PDF_TASK, explain=True)
    assert len(answer["explain"]["features"]) == len(paths(answer))
    assert 0 < answer["explain"]["background"]["mean"] < 1


async def test_recent_messages_are_searched_too(client: httpx.AsyncClient) -> None:
    vague = "please do that for all of them"
    told = await route(client, vague, context={"messages": [PDF_TASK]})
    assert paths(told)[0] == paths(await route(client, PDF_TASK))[0]


async def test_every_route_goes_to_the_ledger(client: httpx.AsyncClient, parts: Parts) -> None:
    answer = await route(client, PDF_TASK, context={"messages": ["said before"]})
    catalogue_url = parts.engine.url.render_as_string(hide_password=False)
    ledger = await open_database(ledger_url(catalogue_url), create=False)
    async with read(ledger) as connection:
        wanted = select(routes).where(routes.c.route_id == answer["route_id"])
        row = (await connection.execute(wanted)).one()
    await ledger.dispose()
    assert row.task == PDF_TASK and row.decision == answer["decision"]
    assert row.skills[0]["id"] == answer["skills"][0]["id"]
    assert "said before" not in json.dumps(row.request)


async def test_a_skill_is_identified_by_its_place(client: httpx.AsyncClient) -> None:
    best = (await route(client, PDF_TASK))["skills"][0]
    assert best["catalogue"] == CATALOGUE
    assert best["id"] == skill_id(CATALOGUE, best["path"])
