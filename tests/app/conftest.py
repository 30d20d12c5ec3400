"""A server over the sample skills, as `make serve` runs it, and a client to it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from app.api.dependencies import Parts
from app.main import create_app, open_parts
from app.settings import AppSettings
from indexer.settings import IndexerSettings
from tests.support import CATALOGUE, EXAMPLES, index_folder


@pytest.fixture(scope="session")
def indexed_examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the sample skills indexed; do not write to it."""
    data_dir = tmp_path_factory.mktemp("examples")
    asyncio.run(index_folder(IndexerSettings(data_dir=data_dir), EXAMPLES / "skills", CATALOGUE))
    return data_dir


@pytest.fixture(scope="module")
def data_dir(indexed_examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of it for one module."""
    copy = tmp_path_factory.mktemp("data") / "data"
    shutil.copytree(indexed_examples, copy)
    return copy


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def parts(data_dir: Path) -> AsyncIterator[Parts]:
    async with open_parts(AppSettings(data_dir=data_dir)) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(parts: Parts) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(parts), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://loadstar") as opened:
        yield opened
