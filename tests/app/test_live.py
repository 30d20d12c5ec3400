"""A running server sees what another process publishes, changes and withdraws."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from app.main import create_app, open_parts
from app.settings import AppSettings
from core.errors import GenerationDamagedError, SpaceMismatchError
from core.types import Filters
from indexer.settings import IndexerSettings
from tests.support import index_folder

SECONDS = 2.0

DUCKS = """---
name: rubber-ducks
description: Paints rubber ducks {colour} with a spray gun.
---
# Do
Paint {colour}.
"""
BREAD = "---\nname: bread-baking\ndescription: Bakes sourdough.\n---\n# Do\nKnead.\n"


class Shop:
    """A data folder that a test server serves, and a source folder that another process indexes."""

    def __init__(self, folder: Path) -> None:
        self.data_dir = folder / "data"
        self.source = folder / "source"
        self.write("bread", BREAD)

    def write(self, name: str, text: str) -> None:
        (self.source / name).mkdir(parents=True, exist_ok=True)
        (self.source / name / "SKILL.md").write_text(text)

    def index(self) -> float:
        """Run `loadstar index` to its end; the moment it had committed at the latest."""
        command = [sys.executable, "-m", "cli.main", "index", str(self.source), "--prune"]
        command += ["--catalogue", "a/b", "--data-dir", str(self.data_dir), "--encoder", "hashing"]
        subprocess.run(command, check=True, capture_output=True)
        return time.monotonic()


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest_asyncio.fixture
async def client(shop: Shop) -> AsyncIterator[httpx.AsyncClient]:
    await asyncio.to_thread(shop.index)
    settings = AppSettings(data_dir=shop.data_dir, encoder="hashing")
    async with open_parts(settings) as parts:
        transport = httpx.ASGITransport(create_app(parts))
        async with httpx.AsyncClient(transport=transport, base_url="http://loadstar") as opened:
            yield opened


async def first_description(client: httpx.AsyncClient) -> str:
    request = {"task": "paint the rubber ducks with a spray gun"}
    answer = (await client.post("/v1/route", json=request)).json()
    found = [*answer["skills"], *answer["not_loaded"]]
    return str(found[0]["description"]) if found else ""


async def seen_in_time(client: httpx.AsyncClient, committed: float, wanted: str) -> bool:
    while time.monotonic() < committed + SECONDS:
        if wanted in await first_description(client):
            return True
        await asyncio.sleep(0.05)
    return False


async def test_a_skill_published_changed_and_withdrawn_elsewhere_is_seen_in_time(
    shop: Shop, client: httpx.AsyncClient
) -> None:
    assert "ducks" not in await first_description(client)
    for colour in ("yellow", "green"):
        shop.write("ducks", DUCKS.format(colour=colour))
        committed = await asyncio.to_thread(shop.index)
        assert await seen_in_time(client, committed, f"ducks {colour}")
    (shop.source / "ducks" / "SKILL.md").unlink()
    committed = await asyncio.to_thread(shop.index)
    assert await seen_in_time(client, committed, "sourdough")


async def test_a_server_on_an_empty_folder_answers_none_and_then_fills(tmp_path: Path) -> None:
    settings = AppSettings(data_dir=tmp_path / "data", encoder="hashing")
    async with open_parts(settings) as parts:
        transport = httpx.ASGITransport(create_app(parts))
        async with httpx.AsyncClient(transport=transport, base_url="http://loadstar") as client:
            empty = (await client.post("/v1/route", json={"task": "paint ducks"})).json()
            assert (empty["decision"], empty["reason"]) == ("none", "nothing_visible")
            shop = Shop(tmp_path)
            committed = await asyncio.to_thread(shop.index)
            assert await seen_in_time(client, committed, "sourdough")


async def test_a_torn_generation_stops_the_server_with_what_to_do(shop: Shop) -> None:
    await asyncio.to_thread(shop.index)
    (generation,) = (shop.data_dir / "generations").iterdir()
    rows = generation / "rows.npz"
    rows.write_bytes(rows.read_bytes()[:-10])
    with pytest.raises(GenerationDamagedError, match="loadstar index --rebuild"):
        async with open_parts(AppSettings(data_dir=shop.data_dir, encoder="hashing")):
            pass


async def test_the_small_lexical_backend_sees_changes_too(shop: Shop) -> None:
    await asyncio.to_thread(shop.index)
    settings = AppSettings(
        data_dir=shop.data_dir, encoder="hashing", lexical_backend="rank_bm25", feed_poll_s=0.05
    )
    async with open_parts(settings) as parts:
        transport = httpx.ASGITransport(create_app(parts))
        async with httpx.AsyncClient(transport=transport, base_url="http://loadstar") as client:
            assert "sourdough" in await first_description(client)
            shop.write("ducks", DUCKS.format(colour="blue"))
            committed = await asyncio.to_thread(shop.index)
            assert await seen_in_time(client, committed, "ducks blue")


async def test_another_encoder_serves_nothing_until_it_is_indexed_for(shop: Shop) -> None:
    await asyncio.to_thread(shop.index)
    with pytest.raises(SpaceMismatchError, match="loadstar index"):
        async with open_parts(AppSettings(data_dir=shop.data_dir)):
            pass
    report = await index_folder(IndexerSettings(data_dir=shop.data_dir), shop.source, "a/b")
    assert (report.published, report.texts_embedded) == (0, 2)
    async with open_parts(AppSettings(data_dir=shop.data_dir)) as parts:
        assert parts.follower.snapshot.view.count(Filters()) == 1
