"""Too much at once, and too slow: answered clearly, never queued without bound."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from app.main import create_app, open_parts
from app.settings import AppSettings


@asynccontextmanager
async def served(
    examples: Path, tmp_path: Path, **settings: object
) -> AsyncIterator[httpx.AsyncClient]:
    shutil.copytree(examples, tmp_path / "data")
    async with open_parts(
        AppSettings.model_validate({"data_dir": tmp_path / "data", **settings})
    ) as parts:
        transport = httpx.ASGITransport(create_app(parts))
        async with httpx.AsyncClient(transport=transport, base_url="http://loadstar") as client:
            yield client


async def together(client: httpx.AsyncClient, count: int) -> Sequence[httpx.Response]:
    return await asyncio.gather(
        *(client.post("/v1/route", json={"task": f"split the pdf {i}"}) for i in range(count))
    )


async def test_a_route_past_the_bound_is_told_when_to_come_back(
    indexed_examples: Path, tmp_path: Path
) -> None:
    async with served(indexed_examples, tmp_path, max_in_flight=2) as client:
        answers = await together(client, 6)
        codes = sorted(answer.status_code for answer in answers)
        assert codes[:2] == [200, 200] and codes[-1] == 429
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["code"] == "overloaded"
        assert (await together(client, 1))[0].status_code == 200


async def test_32_clients_are_all_answered(indexed_examples: Path, tmp_path: Path) -> None:
    async with served(indexed_examples, tmp_path) as client:
        answers = [answer for _ in range(3) for answer in await together(client, 32)]
    assert {answer.status_code for answer in answers} == {200}


async def test_a_route_that_takes_too_long_is_ended(indexed_examples: Path, tmp_path: Path) -> None:
    async with served(indexed_examples, tmp_path, route_timeout_s=0.0001) as client:
        (answer,) = await together(client, 1)
    assert answer.status_code == 503
    assert answer.json()["code"] == "deadline"
    assert answer.headers["retry-after"] == "1"
