"""The database engines: opening one safely, and the two kinds of transaction."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy import URL, Connection, event, inspect, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    InterfaceError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from core.errors import DatabaseUnavailableError, ForeignDatabaseError, SettingsError
from core.tables import Which
from migrations import VERSION_TABLE, apply, current_revisions, known_revisions

LOCK_WAIT_S = 10  # SQLite: how long one writer waits for the others
LOCK_POLL_S = 0.01
CONNECT_WAIT_S = 5
POOL_WAIT_S = 10
POOL_SIZE = 8

# Per connection; 32 MB is enough to keep the inner pages of the largest trees.
SQLITE_PRAGMAS = (
    f"PRAGMA busy_timeout={LOCK_WAIT_S * 1000}",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=NORMAL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA cache_size=-32768",
)
IN_LIST = 1_000  # values of one IN (…); the drivers take at most some 32,000 parameters

Item = TypeVar("Item")

# Alembic keeps the running migration in module globals; a lock belongs to one event loop.
_migrating: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
_WRITES = "loadstar_writes"
_LEDGER_SCHEMA = "-csearch_path=ledger"
_OUTAGES = (OperationalError, InterfaceError, PoolTimeoutError)
_URL_HELP = "Give sqlite:///FOLDER/catalogue.db or postgresql://USER:PASSWORD@HOST/NAME."
_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg"}


def ledger_url(url: str) -> str:
    """The ledger beside the catalogue at `url`: the file `ledger.db`, or the schema `ledger`."""
    address = _address(url)
    if address.get_backend_name() == "sqlite":
        ledger = address.set(database=str(_file(address).with_name("ledger.db")))
    else:
        given = str(address.query.get("options", ""))
        options = given if _LEDGER_SCHEMA in given else f"{given} {_LEDGER_SCHEMA}".strip()
        ledger = address.update_query_dict({"options": options})
    return _text(ledger)


async def open_database(url: str, *, create: bool) -> AsyncEngine:
    """An engine on the catalogue or the ledger at `url`, at this program's revision.

    With `create`, an empty place is filled and an older revision brought up to date. A database
    that is refused is left as it was, to the byte. Whoever opens it disposes it.

    Raises SettingsError for a URL that cannot be one, ForeignDatabaseError for a database of
    another program or another version, DatabaseUnavailableError where none answers.
    """
    address = _address(url)
    which: Which = "ledger" if ledger_url(url) == _text(address) else "catalogue"
    with _unavailable(address):
        ready = await _is_current(address, which)
    if not (ready or create):
        raise DatabaseUnavailableError(
            f"There is no {which} of this version at {_shown(address)}. "
            "`loadstar index` creates it, or brings an older one up to date."
        )
    engine = _engine(address)
    if not ready:
        try:
            await migrate(engine, which)
        except BaseException:
            await engine.dispose()
            raise
    return engine


async def migrate(engine: AsyncEngine, which: Which, revision: str = "head") -> None:
    """Bring the database up, or down to `base`, all or nothing; several processes may at once.

    Raises DatabaseUnavailableError where another program holds what has to be changed.
    """
    one_at_a_time = _migrating.setdefault(asyncio.get_running_loop(), asyncio.Lock())
    async with one_at_a_time, write(engine) as connection:
        await connection.run_sync(apply, which, revision)


@asynccontextmanager
async def write(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction that may write: committed at the end, undone by any exception.

    Raises DatabaseUnavailableError where the database goes away or stays locked.
    """
    begun = engine.execution_options(**{_WRITES: True}).begin()
    with _unavailable(engine.url):
        async with begun as connection, _abandoned_if_cancelled(connection):
            yield connection


@asynccontextmanager
async def read(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction that only reads, and sees one moment of the database throughout.

    Raises DatabaseUnavailableError where the database goes away or stays locked.
    """
    snapshot = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    options: dict[str, Any] = {} if engine.dialect.name == "sqlite" else snapshot
    connected = engine.execution_options(**options).connect()
    with _unavailable(engine.url):
        async with connected as connection, _abandoned_if_cancelled(connection):
            yield connection


@asynccontextmanager
async def _abandoned_if_cancelled(connection: AsyncConnection) -> AsyncIterator[None]:
    """Keeps a cancelled task's connection out of the pool: it may be in the middle of anything.

    psycopg sometimes fails an assertion instead of passing the cancellation on, so that
    SQLAlchemy would hand the connection to the next task with a statement still under way.
    """
    try:
        yield
    except BaseException as error:
        task = asyncio.current_task()
        if task is None or not task.cancelling():
            raise
        await connection.invalidate()
        raise asyncio.CancelledError from error


def chunks(items: Sequence[Item], size: int = IN_LIST) -> Iterator[Sequence[Item]]:
    """The items in order, at most `size` at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _address(url: str) -> URL:
    """The URL with the driver that we use; raises SettingsError where there can be none."""
    try:
        address = make_url(url.replace("postgres://", "postgresql://", 1))
    except ArgumentError as error:
        raise SettingsError("The database URL cannot be read. " + _URL_HELP) from error
    driver = _DRIVERS.get(address.get_backend_name())
    if driver is None or address.database in (None, "", ":memory:"):
        raise SettingsError(f"{_shown(address)} is not a database for Loadstar. {_URL_HELP}")
    if driver.startswith("sqlite"):
        address = address.set(database=str(_file(address)))
    return address.set(drivername=driver)


def _text(address: URL) -> str:
    return address.render_as_string(hide_password=False)


def _shown(address: URL) -> str:
    return address.render_as_string(hide_password=True)


def _file(address: URL) -> Path:
    return Path(str(address.database)).absolute()


async def _is_current(address: URL, which: Which) -> bool:
    """Whether our newest revision is there; False where there is nothing or an older one.

    Raises ForeignDatabaseError for anything else, having changed nothing.
    """
    if address.get_backend_name() == "postgresql":
        engine = _engine(address)
    elif _file(address).exists():
        # Read-only, since SQLite may otherwise tidy up a file that turns out not to be ours.
        read_only = {"mode": "ro", "uri": "true"}
        engine = create_async_engine(
            address.set(database=_file(address).as_uri(), query=read_only), poolclass=NullPool
        )
    else:
        return False
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(_check, which, _shown(address))
    finally:
        await engine.dispose()


def _check(connection: Connection, which: Which, where: str) -> bool:
    foreign = set(inspect(connection).get_table_names()) - {VERSION_TABLE}
    revisions = current_revisions(connection)
    if not revisions and not foreign:
        return False
    known = known_revisions(which)
    if not revisions:
        raise ForeignDatabaseError(
            f"{where} holds tables of another program ({', '.join(sorted(foreign)[:3])}). "
            "Nothing was changed. Name another database with --data-dir or LOADSTAR_DATABASE_URL."
        )
    if not revisions <= set(known):
        raise ForeignDatabaseError(
            f"{where} is at revision {', '.join(sorted(revisions))}, which this program does not "
            f"know as a {which}: a newer Loadstar or another program made it. Nothing was changed. "
            "Upgrade Loadstar, or name another database."
        )
    return revisions == {known[-1]}


def _engine(address: URL) -> AsyncEngine:
    if address.get_backend_name() == "sqlite":
        return _sqlite_engine(address)
    try:
        return create_async_engine(
            address,
            pool_size=POOL_SIZE,
            pool_timeout=POOL_WAIT_S,
            pool_pre_ping=True,
            connect_args={"connect_timeout": CONNECT_WAIT_S},
        )
    except ModuleNotFoundError as error:
        raise SettingsError(
            "PostgreSQL needs a driver: pip install 'loadstar[postgres]'."
        ) from error


def _sqlite_engine(address: URL) -> AsyncEngine:
    try:
        _file(address).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatabaseUnavailableError(f"{_shown(address)} cannot be created: {error}") from error
    engine = create_async_engine(
        address,
        pool_size=POOL_SIZE,
        pool_timeout=POOL_WAIT_S,
        # The driver would begin transactions itself, late and never IMMEDIATE.
        connect_args={"isolation_level": None},
    )

    @event.listens_for(engine.sync_engine, "connect")
    def configure(dbapi_connection: Any, _: object) -> None:
        cursor = dbapi_connection.cursor()
        for pragma in SQLITE_PRAGMAS:
            _execute_when_free(cursor, pragma)
        cursor.close()

    @event.listens_for(engine.sync_engine, "invalidate")
    def undo(dbapi_connection: Any, *_: object) -> None:
        # A cancelled task's connection is closed, but SQLite keeps it, and its lock, for as long
        # as the task's traceback holds a statement of it.
        with suppress(sqlite3.Error):
            dbapi_connection.rollback()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads first and then writes could find the lock taken, at once and
        # without waiting; IMMEDIATE waits for it at the start.
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _execute_when_free(cursor: Any, statement: str) -> None:
    """Execute it, waiting LOCK_WAIT_S at most for other programs' locks.

    Two processes that turn a new file to WAL at once would each wait for the other: SQLite
    refuses one of them at once, whatever its busy_timeout.
    """
    give_up = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            cursor.execute(statement)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(LOCK_POLL_S)
        else:
            return


@contextmanager
def _unavailable(address: URL) -> Iterator[None]:
    """Turns what drivers say of lost, locked and broken databases into DatabaseUnavailableError."""
    try:
        yield
    except (DatabaseError, InterfaceError, PoolTimeoutError) as error:
        # Plain DatabaseError is how SQLite reports a damaged file; its other kinds are ours.
        if not (isinstance(error, _OUTAGES) or type(error) is DatabaseError):
            raise
        cause = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise DatabaseUnavailableError(
            f"The database {_shown(address)} cannot be used: {cause}. Check that it is running, "
            "that it is a database, and that no other program keeps it locked; nothing was lost."
        ) from error
