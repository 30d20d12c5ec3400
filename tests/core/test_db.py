"""Opening a database is safe, and its two transactions are what they say."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import IntegrityError, StatementError
from sqlalchemy.ext.asyncio import AsyncEngine

from core.db import ledger_url, open_database, read, write
from core.errors import DatabaseUnavailableError, ForeignDatabaseError, SettingsError
from core.tables import catalogues

NOW = datetime(2026, 5, 4, 12, 0, 0, 123456, tzinfo=UTC)


def _run_elsewhere(url: str, *statements: str) -> None:
    """As another program would, with a driver of its own."""
    if url.startswith("sqlite"):
        path = Path(url.removeprefix("sqlite:///"))
        path.parent.mkdir(exist_ok=True)
        with sqlite3.connect(path) as file:
            for statement in statements:
                file.execute(statement)
        file.close()
    else:
        with psycopg.connect(url.replace("+psycopg", "")) as server:
            for statement in statements:
                server.execute(statement.encode())


async def test_an_empty_place_is_filled_only_when_told_to_create(empty_database_url: str) -> None:
    with pytest.raises(DatabaseUnavailableError, match="loadstar index"):
        await open_database(empty_database_url, create=False)
    engine = await open_database(empty_database_url, create=True)
    await engine.dispose()
    again = await open_database(empty_database_url, create=False)
    await again.dispose()


async def test_tables_of_another_program_are_refused(empty_database_url: str) -> None:
    _run_elsewhere(empty_database_url, "CREATE TABLE invoices (id integer)")
    with pytest.raises(ForeignDatabaseError, match="invoices"):
        await open_database(empty_database_url, create=True)


async def test_the_revision_of_a_newer_version_is_refused(database_url: str) -> None:
    _run_elsewhere(database_url, "UPDATE alembic_version SET version_num = 'catalogue_9999'")
    with pytest.raises(ForeignDatabaseError, match="catalogue_9999"):
        await open_database(database_url, create=True)


async def test_a_ledger_is_not_taken_for_a_catalogue(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/catalogue.db"
    ledger = await open_database(ledger_url(url), create=True)
    await ledger.dispose()
    (tmp_path / "ledger.db").rename(tmp_path / "catalogue.db")
    with pytest.raises(ForeignDatabaseError, match="ledger_0001"):
        await open_database(url, create=True)


@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
async def test_a_refused_file_is_untouched(tmp_path: Path, journal: str) -> None:
    url = f"sqlite:///{tmp_path}/catalogue.db"
    _run_elsewhere(url, f"PRAGMA journal_mode={journal}", "CREATE TABLE notes (id integer)")
    before = (tmp_path / "catalogue.db").read_bytes()
    with pytest.raises(ForeignDatabaseError):
        await open_database(url, create=True)
    assert (tmp_path / "catalogue.db").read_bytes() == before


async def test_a_file_that_is_no_database_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.db"
    path.write_bytes(b"PK\x03\x04 something else entirely " * 100)
    before = path.read_bytes()
    with pytest.raises(DatabaseUnavailableError, match="not a database"):
        await open_database(f"sqlite:///{path}", create=True)
    assert path.read_bytes() == before


async def test_a_folder_in_the_file_s_place_is_an_unavailable_database(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailableError, match="cannot be used"):
        await open_database(f"sqlite:///{tmp_path}", create=True)


async def test_a_server_that_does_not_answer_is_unavailable_and_its_password_unsaid() -> None:
    with pytest.raises(DatabaseUnavailableError) as caught:
        await open_database("postgresql://me:secret@127.0.0.1:1/loadstar", create=True)
    assert "secret" not in caught.value.detail


@pytest.mark.parametrize(
    "url", ["nonsense", "mysql://host/name", "sqlite://", "sqlite:///:memory:"]
)
async def test_a_url_of_no_usable_database_is_a_wrong_setting(url: str) -> None:
    with pytest.raises(SettingsError, match="sqlite:///"):
        await open_database(url, create=True)


@pytest.mark.parametrize("attempt", range(3))
async def test_a_cancelled_writer_lets_go_of_the_lock(engine: AsyncEngine, attempt: int) -> None:
    async def write_on() -> None:
        async with write(engine) as conn:
            for number in range(10_000):
                name = f"a/{number}"
                await conn.execute(insert(catalogues), {"name": name, "created_at": NOW})

    writer = asyncio.create_task(write_on())
    await asyncio.sleep(0.05 + attempt / 100)
    writer.cancel()
    await asyncio.gather(writer, return_exceptions=True)
    async with asyncio.timeout(2), write(engine) as conn:
        assert (await conn.execute(select(catalogues))).all() == []


async def test_a_new_file_that_another_process_has_locked_is_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "catalogue.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        opened = asyncio.create_task(
            asyncio.to_thread(asyncio.run, _open_and_close(f"sqlite:///{file}"))
        )
        await asyncio.sleep(0.3)
        assert not opened.done()
        other.execute("COMMIT")
        await opened


async def _open_and_close(url: str) -> None:
    await (await open_database(url, create=True)).dispose()


async def test_a_path_with_odd_characters_is_just_a_path(tmp_path: Path) -> None:
    folder = tmp_path / "50% größer #1"
    engine = await open_database(f"sqlite:///{folder}/c.db", create=True)
    await engine.dispose()
    assert (folder / "c.db").is_file()


async def test_the_ledger_lies_beside_the_catalogue(database_url: str) -> None:
    ledger = await open_database(ledger_url(database_url), create=False)
    catalogue = await open_database(database_url, create=False)
    async with read(ledger) as conn:
        assert (await conn.execute(text("SELECT count(*) FROM routes"))).scalar_one() == 0
    async with read(catalogue) as conn:
        assert (await conn.execute(text("SELECT count(*) FROM skills"))).scalar_one() == 0
    await ledger.dispose()
    await catalogue.dispose()


def test_the_ledger_of_a_ledger_is_itself() -> None:
    for url in ("sqlite:////data/catalogue.db", "postgresql://host/name?options=-cjit%3Doff"):
        assert ledger_url(ledger_url(url)) == ledger_url(url)


async def test_an_exception_undoes_the_whole_transaction(engine: AsyncEngine) -> None:
    with pytest.raises(RuntimeError, match="half way"):
        async with write(engine) as conn:
            await conn.execute(insert(catalogues), {"name": "a/b", "created_at": NOW})
            raise RuntimeError("half way")
    async with read(engine) as conn:
        assert (await conn.execute(select(catalogues))).all() == []


async def test_a_reader_sees_one_moment_throughout(engine: AsyncEngine) -> None:
    async with read(engine) as reader:
        assert (await reader.execute(select(catalogues))).all() == []
        async with write(engine) as conn:
            await conn.execute(insert(catalogues), {"name": "a/b", "created_at": NOW})
        assert (await reader.execute(select(catalogues))).all() == []


async def test_writers_wait_for_one_another(engine: AsyncEngine) -> None:
    async def add(number: int) -> None:
        async with write(engine) as conn:
            await conn.execute(select(catalogues))
            await conn.execute(insert(catalogues), {"name": f"a/{number}", "created_at": NOW})

    await asyncio.gather(*(add(number) for number in range(20)))
    async with read(engine) as conn:
        assert len((await conn.execute(select(catalogues))).all()) == 20


async def test_what_the_caller_did_wrong_is_not_called_an_outage(engine: AsyncEngine) -> None:
    with pytest.raises(IntegrityError):
        async with write(engine) as conn:
            for _ in range(2):
                await conn.execute(insert(catalogues), {"name": "a/b", "created_at": NOW})


async def test_a_moment_comes_back_aware_and_in_utc(engine: AsyncEngine) -> None:
    in_tokyo = NOW.astimezone(timezone(timedelta(hours=9)))
    async with write(engine) as conn:
        await conn.execute(insert(catalogues), {"name": "a/b", "created_at": in_tokyo})
        stored = await conn.scalar(select(catalogues.c.created_at))
    assert stored == NOW
    assert stored.tzinfo is UTC


async def test_a_naive_time_is_refused(engine: AsyncEngine) -> None:
    naive = NOW.replace(tzinfo=None)
    with pytest.raises(StatementError, match="no time zone"):
        async with write(engine) as conn:
            await conn.execute(insert(catalogues), {"name": "a/b", "created_at": naive})
