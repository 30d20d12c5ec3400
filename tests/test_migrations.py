"""Migrations and `core.tables` describe the same databases."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect
from sqlalchemy.ext.asyncio import AsyncEngine

from core.db import ledger_url, migrate, open_database, read
from core.feed import head
from core.tables import METADATA, Which
from migrations import VERSION_TABLE, known_revisions

BOTH = pytest.mark.parametrize("which", ["catalogue", "ledger"])

OPEN = """
import asyncio, sys
from core.db import open_database, read
from core.feed import head
async def main():
    engine = await open_database(sys.argv[1], create=True)
    async with read(engine) as conn:
        assert await head(conn) == 0
    await engine.dispose()
asyncio.run(main())
"""


def _url(catalogue: str, which: Which) -> str:
    return catalogue if which == "catalogue" else ledger_url(catalogue)


async def _tables(engine: AsyncEngine) -> set[str]:
    async with read(engine) as conn:
        return set(await conn.run_sync(lambda sync: inspect(sync).get_table_names()))


@BOTH
async def test_migrations_build_exactly_the_tables_of_the_models(
    empty_database_url: str, which: Which
) -> None:
    def differences(connection: Connection) -> list[object]:
        options = {"compare_type": True, "compare_server_default": True}
        return list(
            compare_metadata(MigrationContext.configure(connection, opts=options), METADATA[which])
        )

    engine = await open_database(_url(empty_database_url, which), create=True)
    async with read(engine) as conn:
        assert await conn.run_sync(differences) == []
    assert await _tables(engine) == METADATA[which].tables.keys() | {VERSION_TABLE}
    await engine.dispose()


@BOTH
async def test_going_down_and_up_again_leaves_empty_tables(database_url: str, which: Which) -> None:
    engine = await open_database(_url(database_url, which), create=False)
    await migrate(engine, which, "base")
    assert await _tables(engine) == {VERSION_TABLE}
    await migrate(engine, which)
    assert await _tables(engine) == METADATA[which].tables.keys() | {VERSION_TABLE}
    if which == "catalogue":
        async with read(engine) as conn:
            assert await head(conn) == 0
    await engine.dispose()


@BOTH
def test_revisions_form_one_line(which: Which) -> None:
    assert known_revisions(which)[0] == f"{which}_0001"
    assert len(set(known_revisions(which))) == len(known_revisions(which))


async def test_both_databases_can_be_migrated_at_once_in_one_process(
    empty_database_url: str,
) -> None:
    urls = [empty_database_url, ledger_url(empty_database_url)] * 2
    engines = await asyncio.gather(*(open_database(url, create=True) for url in urls))
    assert "routes" in await _tables(engines[1])
    assert "skills" in await _tables(engines[2])
    for engine in engines:
        await engine.dispose()


def test_processes_that_migrate_at_once_all_succeed(empty_database_url: str) -> None:
    command = [sys.executable, "-c", OPEN, empty_database_url]
    processes = [subprocess.Popen(command) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
