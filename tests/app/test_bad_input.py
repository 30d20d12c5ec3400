"""Bad requests: each is answered with a problem+json that names the field and why."""

from __future__ import annotations

import logging
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")


def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert (body["status"], body["code"]) == (status, code)
    assert body["detail"] and body["type"].endswith(code)
    return body


@pytest.mark.parametrize(
    ("request_body", "field"),
    [
        ({"task": ""}, "task"),
        ({"task": " \n "}, "task"),
        ({"task": "x" * 20_001}, "task"),
        ({"task": 7}, "task"),
        ({}, "task"),
        ({"task": "x", "colour": "red"}, "colour"),
        ({"task": "x", "k": 0}, "k"),
        ({"task": "x", "k": 51}, "k"),
        ({"task": "x", "max_false_load": 0}, "max_false_load"),
        ({"task": "x", "include": "everything"}, "include"),
        ({"task": "x", "filters": {"trust_floor": "total"}}, "filters.trust_floor"),
        ({"task": "x", "filters": {"language": ["en"]}}, "filters.language"),
        ({"task": "x", "context": {"messages": "hi"}}, "context.messages"),
        ([], ""),
    ],
)
async def test_a_wrong_field_is_named_with_its_reason(
    client: httpx.AsyncClient, request_body: Any, field: str
) -> None:
    body = problem(await client.post("/v1/route", json=request_body), 422, "invalid_request")
    assert [error["field"] for error in body["errors"]] == [field]
    assert body["errors"][0]["reason"]


async def test_the_longest_task_is_answered(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/route", json={"task": "split pdf " * 2_000})
    assert response.status_code == 200


async def test_an_unknown_catalogue_is_named(client: httpx.AsyncClient) -> None:
    request = {"task": "x", "filters": {"catalogues": ["no/such"]}}
    body = problem(await client.post("/v1/route", json=request), 422, "invalid_filter")
    assert "no/such" in body["detail"]


async def test_a_body_that_is_not_json(client: httpx.AsyncClient) -> None:
    response = await client.post(
        "/v1/route", content=b"{task: nope", headers={"content-type": "application/json"}
    )
    problem(response, 400, "malformed_request")


async def test_bytes_that_are_not_text(client: httpx.AsyncClient) -> None:
    response = await client.post(
        "/v1/route", content=b'{"task": "\xff\xfe"}', headers={"content-type": "application/json"}
    )
    problem(response, 400, "malformed_request")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_a_wrong_content_type(client: httpx.AsyncClient, kind: str) -> None:
    response = await client.post(
        "/v1/route", content=b'{"task": "x"}', headers={"content-type": kind}
    )
    problem(response, 415, "unsupported_media_type")


async def test_a_body_over_the_limit_is_refused(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/route", json={"task": "x" * 4_100_000})
    problem(response, 413, "too_large")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/skills/skl_unknown",
        "/v1/skills/skl_unknown/content",
        "/v1/skills/skl_unknown/versions/sha256:0/files",
        "/v1/skills?catalogue=no/such",
        "/nowhere",
    ],
)
async def test_what_is_not_there_is_not_found(client: httpx.AsyncClient, path: str) -> None:
    problem(await client.get(path), 404, "not_found")


async def test_a_wrong_method(client: httpx.AsyncClient) -> None:
    problem(await client.get("/v1/route"), 405, "method_not_allowed")


async def test_a_wrong_page_size(client: httpx.AsyncClient) -> None:
    body = problem(await client.get("/v1/skills?limit=0"), 422, "invalid_request")
    assert body["errors"][0]["field"] == "limit"


async def test_bad_input_leaves_no_stack_trace_in_the_log(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        await client.post("/v1/route", json={"task": ""})
        await client.get("/v1/skills/skl_unknown")
    assert not [record for record in caplog.records if record.exc_info]
