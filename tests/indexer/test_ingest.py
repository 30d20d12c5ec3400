"""Ingestion: what is published, what is left alone, and what a kill leaves behind."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from core import store
from core.db import open_database, read
from core.embedding import HashingEmbedder
from core.errors import SourceUnreadableError, SpaceMismatchError
from core.retrieval.generation import Generation
from core.tables import passages, skill_rows, skills, vectors
from core.types import skill_id
from indexer.ingest import Report, ingest
from indexer.package import Package, Unreadable
from indexer.rebuild import rebuild_if_due
from indexer.reembed import embed_missing
from indexer.settings import IndexerSettings

EMBEDDER = HashingEmbedder()


def package(number: int, text: str = "") -> Package:
    head = f"---\nname: skill-{number}\ndescription: Does {number}.\n---\n"
    data = f"{head}# Steps\n{text or number}\n".encode()
    return Package(catalogue="a/b", path=f"skills/skill-{number}", files={"SKILL.md": data})


@pytest_asyncio.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    opened = await open_database(database_url, create=False)
    yield opened
    await opened.dispose()


async def run(
    engine: AsyncEngine, *packages: Package | Unreadable, prune: bool = False, batch: int = 3
) -> Report:
    return await ingest(
        engine, EMBEDDER, packages, batch_skills=batch, prune=prune, on_progress=lambda _: None
    )


async def live_paths(engine: AsyncEngine) -> set[str]:
    async with read(engine) as connection:
        return {path for _, path in await store.live_derivations(connection)}


async def test_every_package_is_published_whatever_the_batch_size(engine: AsyncEngine) -> None:
    report = await run(engine, *(package(i) for i in range(7)), batch=3)
    assert (report.seen, report.published, report.unchanged) == (7, 7, 0)
    assert len(await live_paths(engine)) == 7


async def test_an_unchanged_package_is_neither_embedded_nor_published_again(
    engine: AsyncEngine,
) -> None:
    await run(engine, package(1), package(2))
    again = await run(engine, package(1), package(2))
    assert (again.published, again.unchanged, again.texts_embedded) == (0, 2, 0)


async def test_a_changed_package_is_a_new_version_and_only_new_text_is_embedded(
    engine: AsyncEngine,
) -> None:
    await run(engine, package(1))
    report = await run(engine, package(1, "other text"))
    assert (report.published, report.texts_embedded) == (1, 1)
    async with read(engine) as connection:
        found = await store.live_skill(connection, skill_id("a/b", "skills/skill-1"))
        assert found is not None and "other text" in found.body
        assert len(await store.version_history(connection, found.skill_id)) == 2


async def test_a_licence_that_only_the_source_knows_is_kept_in_step(engine: AsyncEngine) -> None:
    await run(engine, package(1))
    licensed = Package(
        catalogue="a/b", path="skills/skill-1", files=package(1).files, licence="MIT"
    )
    assert (await run(engine, licensed)).published == 1


async def test_an_unreadable_package_is_reported_and_the_rest_goes_on(engine: AsyncEngine) -> None:
    gone = Unreadable(catalogue="a/b", path="broken", reason="no SKILL.md")
    empty = Package(catalogue="a/b", path="empty", files={"README.md": b""})
    report = await run(engine, package(1), gone, empty, package(2))
    assert report.published == 2
    assert {each.path for each in report.unreadable} == {"broken", "empty"}


async def test_prune_withdraws_what_the_source_no_longer_holds(engine: AsyncEngine) -> None:
    await run(engine, package(1), package(2))
    assert (await run(engine, package(1))).withdrawn == 0
    assert (await run(engine, package(1), prune=True)).withdrawn == 1
    assert await live_paths(engine) == {"skills/skill-1"}


async def test_prune_withdraws_nothing_while_something_cannot_be_read(engine: AsyncEngine) -> None:
    await run(engine, package(1), package(2))
    broken = Unreadable(catalogue="a/b", path="line 2", reason="torn")
    assert (await run(engine, package(1), broken, prune=True)).withdrawn == 0


async def test_a_source_that_breaks_off_keeps_what_came_before(engine: AsyncEngine) -> None:
    def breaking() -> Iterator[Package]:
        yield package(1)
        yield package(2)
        raise SourceUnreadableError("torn")

    with pytest.raises(SourceUnreadableError):
        await ingest(
            engine, EMBEDDER, breaking(), batch_skills=1, prune=True, on_progress=lambda _: None
        )
    assert "skills/skill-1" in await live_paths(engine)


async def test_a_changed_encoder_is_caught_up_with(engine: AsyncEngine, tmp_path: Path) -> None:
    await run(engine, package(1), package(2))
    other = HashingEmbedder(dimension=64)
    async with read(engine) as connection:
        with pytest.raises(SpaceMismatchError, match=other.space.id):
            _ = [batch async for batch in store.stream_live_rows(connection, other.space)]
    seen: list[tuple[int, int]] = []
    report = Report()
    await embed_missing(
        engine, other, report, on_progress=lambda done, total: seen.append((done, total))
    )
    assert report.texts_embedded == 4 and seen[-1] == (4, 4)
    async with read(engine) as connection:
        batches = store.stream_live_rows(connection, other.space)
        rows = [row async for batch in batches for row in batch]
    assert {row.passages[0].vector.shape for row in rows} == {(64,)}


async def rebuilt(engine: AsyncEngine, settings: IndexerSettings, *, force: bool = False) -> str:
    return await rebuild_if_due(
        engine, EMBEDDER, settings, force=force, on_progress=lambda done, total: None
    )


async def test_a_generation_is_built_when_due_and_old_ones_are_removed(
    engine: AsyncEngine, tmp_path: Path
) -> None:
    settings = IndexerSettings(data_dir=tmp_path, rebuild_after=2, keep_generations=2)
    await run(engine, package(1))
    first = await rebuilt(engine, settings)
    await run(engine, package(2))
    assert await rebuilt(engine, settings) == first
    await run(engine, package(3))
    second = await rebuilt(engine, settings)
    third = await rebuilt(engine, settings, force=True)
    assert len({first, second, third}) == 3
    assert {folder.name for folder in settings.generations_dir.iterdir()} == {second, third}
    loaded = Generation.load(settings.generations_dir / third, EMBEDDER.space)
    assert len(loaded.segment.rows) == 3


async def test_a_torn_generation_is_built_again(engine: AsyncEngine, tmp_path: Path) -> None:
    settings = IndexerSettings(data_dir=tmp_path)
    await run(engine, package(1))
    first = await rebuilt(engine, settings)
    dense = settings.generations_dir / first / "dense.faiss"
    dense.write_bytes(dense.read_bytes()[:-1])
    second = await rebuilt(engine, settings)
    assert second != first
    Generation.load(settings.generations_dir / second, EMBEDDER.space)


def indexing(source: Path, data_dir: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {"LOADSTAR_BATCH_SKILLS": "16", "LOADSTAR_ENCODER": "hashing"}
    command = [sys.executable, "-m", "cli.main", "index", str(source), "--data-dir", str(data_dir)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


async def contents(data_dir: Path) -> tuple[set[tuple[str, str]], set[bytes], set[bytes]]:
    """Live skills with their digests, the text hashes they need, and those with a vector."""
    engine = await open_database(f"sqlite:///{data_dir}/catalogue.db", create=False)
    async with read(engine) as connection:
        live = select(skill_rows.c.skill_id, skill_rows.c.digest).join(
            skills, skills.c.live_row == skill_rows.c.row
        )
        found = {(skill, digest) for skill, digest in await connection.execute(live)}
        needed = set(await connection.scalars(select(passages.c.text_hash)))
        embedded = set(await connection.scalars(select(vectors.c.text_hash)))
    await engine.dispose()
    return found, needed, embedded


async def test_a_run_killed_at_random_moments_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    dump = tmp_path / "dump.jsonl"
    with dump.open("w") as out:
        for number in range(600):
            text = f"Step {number}: " + "do the thing with care. " * (number % 40)
            row = {
                "id": f"o/r{number % 3}/skill-{number}",
                "name": f"skill-{number}",
                "description": f"Does {number}.",
                "frontmatter": {},
                "body": text,
            }
            out.write(json.dumps(row) + "\n")
    assert indexing(dump, tmp_path / "calm").wait() == 0
    moments = random.Random(7)
    for _ in range(4):
        process = indexing(dump, tmp_path / "killed")
        await asyncio.sleep(moments.uniform(1.0, 3.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert indexing(dump, tmp_path / "killed").wait() == 0
    assert await contents(tmp_path / "killed") == await contents(tmp_path / "calm")
