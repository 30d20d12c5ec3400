"""Writes are whole or not at all, and harmless when repeated."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from core import store, tables
from core.db import open_database, read
from core.errors import SpaceMismatchError
from core.feed import changes_since, head
from core.types import Space, Trust
from indexer.catalog import (
    GenerationRecord,
    PreparedSkill,
    PublishResult,
    known_hashes,
    publish,
    record_generation,
    withdraw,
)

MakeSkill = Callable[..., PreparedSkill]
MakeVectors = Callable[..., dict[bytes, NDArray[np.float16]]]


async def _counts(engine: AsyncEngine) -> dict[str, int]:
    async with read(engine) as conn:
        return {
            name: (await conn.execute(select(func.count()).select_from(table))).scalar_one()
            for name, table in tables.catalogue_metadata.tables.items()
        }


async def test_publishing_twice_changes_nothing_the_second_time(
    engine: AsyncEngine, space: Space, make_skill: MakeSkill, make_vectors: MakeVectors
) -> None:
    skills = [make_skill("a"), make_skill("b")]
    first = await publish(engine, skills, make_vectors(*skills), space)
    before = await _counts(engine)
    again = await publish(engine, skills, make_vectors(*skills), space)
    assert first == PublishResult(published=2, unchanged=0, first_seq=1, last_seq=2)
    assert again == PublishResult(published=0, unchanged=2, first_seq=None, last_seq=None)
    assert await _counts(engine) == before


@pytest.mark.parametrize(
    "change",
    [
        {"derivation": "2"},
        {"licence": None},
        {"language": "de"},
        {"trust": Trust.REVIEWED},
        {"digest": "sha256:other"},
    ],
)
async def test_whatever_the_answer_shows_makes_a_new_row(
    engine: AsyncEngine,
    space: Space,
    make_skill: MakeSkill,
    make_vectors: MakeVectors,
    change: dict[str, Any],
) -> None:
    skill = make_skill()
    await publish(engine, [skill], make_vectors(skill), space)
    result = await publish(engine, [replace(skill, **change)], {}, space)
    assert (result.published, result.last_seq) == (1, 2)


async def test_of_two_skills_for_one_place_the_last_is_published(
    engine: AsyncEngine, space: Space, make_skill: MakeSkill, make_vectors: MakeVectors
) -> None:
    earlier, later = make_skill(body="earlier"), make_skill(body="later")
    result = await publish(engine, [earlier, later], make_vectors(earlier, later), space)
    async with read(engine) as conn:
        live = await store.live_skill(conn, later.skill_id)
    assert result.published == 1
    assert live is not None
    assert live.digest == later.digest


async def test_nothing_goes_live_without_its_vectors(
    engine: AsyncEngine, space: Space, make_skill: MakeSkill, make_vectors: MakeVectors
) -> None:
    with_vectors, without = make_skill("a"), make_skill("b")
    before = await _counts(engine)
    with pytest.raises(SpaceMismatchError, match="2 passages"):
        await publish(engine, [with_vectors, without], make_vectors(with_vectors), space)
    assert await _counts(engine) == before


async def test_a_vector_of_another_length_is_refused(
    engine: AsyncEngine, space: Space, make_skill: MakeSkill, make_vectors: MakeVectors
) -> None:
    skill = make_skill()
    long = {key: np.ones(5, dtype=np.float16) for key in make_vectors(skill)}
    with pytest.raises(SpaceMismatchError, match="4 numbers"):
        await publish(engine, [skill], long, space)


async def test_an_unchanged_skill_still_gains_the_vectors_of_a_new_space(
    engine: AsyncEngine, space: Space, make_skill: MakeSkill, make_vectors: MakeVectors
) -> None:
    skill, other = make_skill(), replace(space, revision="2")
    await publish(engine, [skill], make_vectors(skill), space)
    result = await publish(engine, [skill], make_vectors(skill), other)
    async with read(engine) as conn:
        assert len(await store.index_rows(conn, [1], other)) == 1
    assert result.published == 0


async def test_text_that_no_database_can_hold_is_stored_with_replacement(
    engine: AsyncEngine, space: Space, make_skill: MakeSkill, make_vectors: MakeVectors
) -> None:
    skill = make_skill(body="a\0b 🧭 \u202e")
    await publish(engine, [skill], make_vectors(skill), space)
    async with read(engine) as conn:
        live = await store.live_skill(conn, skill.skill_id)
        assert await store.file_bytes(conn, skill.digest, "SKILL.md") == skill.draft.body.encode()
        assert len(await store.index_rows(conn, [1], space)) == 1
    assert live is not None
    assert live.body == "a\ufffdb 🧭 \u202e"


async def test_withdrawing_counts_only_the_live_and_keeps_the_history(
    engine: AsyncEngine, space: Space, make_skill: MakeSkill, make_vectors: MakeVectors
) -> None:
    skill = make_skill()
    await publish(engine, [skill], make_vectors(skill), space)
    assert await withdraw(engine, [skill.skill_id, "skl_unknown"]) == 1
    assert await withdraw(engine, [skill.skill_id]) == 0
    async with read(engine) as conn:
        assert [past.live for past in await store.version_history(conn, skill.skill_id)] == [False]
        assert await head(conn) == 2


async def test_a_withdrawn_skill_comes_back_as_a_new_row(
    engine: AsyncEngine, space: Space, make_skill: MakeSkill, make_vectors: MakeVectors
) -> None:
    skill = make_skill()
    await publish(engine, [skill], make_vectors(skill), space)
    await withdraw(engine, [skill.skill_id])
    await publish(engine, [skill], {}, space)
    async with read(engine) as conn:
        (_, _, back) = await changes_since(conn, 0, 10)
        assert len(await store.version_history(conn, skill.skill_id)) == 2
    assert back.row not in (None, 1)
    assert back.replaced_row is None


async def test_only_hashes_with_a_vector_in_this_space_are_known(
    engine: AsyncEngine, space: Space, make_skill: MakeSkill, make_vectors: MakeVectors
) -> None:
    skill = make_skill()
    given = make_vectors(skill)
    await publish(engine, [skill], given, space)
    async with read(engine) as conn:
        assert await known_hashes(conn, space, [*given, bytes(32)]) == given.keys()
        assert await known_hashes(conn, replace(space, revision="2"), given.keys()) == set()
        assert await known_hashes(conn, space, []) == set()


async def test_a_generation_is_in_force_for_its_space_alone(
    engine: AsyncEngine, space: Space
) -> None:
    def generation(name: str) -> GenerationRecord:
        return GenerationRecord(
            id=name,
            space=space.id,
            seq=7,
            row_count=3,
            checksum="sha256:1",
            created_at=datetime.now(UTC),
        )

    for name in ("g1", "g2", "g2"):
        await record_generation(engine, generation(name))
    async with read(engine) as conn:
        assert await store.current_generation(conn, space.id) == "g2"
        assert await store.current_generation(conn, "another") is None
    assert (await _counts(engine))["generations"] == 2


@pytest.mark.parametrize("delay", [0.001, 0.005, 0.01, 0.02, 0.04])
async def test_a_cancelled_publication_is_whole_or_nothing_and_blocks_nobody(
    engine: AsyncEngine,
    space: Space,
    make_skill: MakeSkill,
    make_vectors: MakeVectors,
    delay: float,
) -> None:
    skills = [make_skill(f"s{i}") for i in range(200)]
    task = asyncio.create_task(publish(engine, skills, make_vectors(*skills), space))
    await asyncio.sleep(delay)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    found = await _counts(engine)
    assert (found["skills"], found["passages"], found["feed"]) in [(0, 0, 0), (200, 400, 200)]
    await asyncio.wait_for(publish(engine, skills, make_vectors(*skills), space), 5)
    assert (await _counts(engine))["feed"] == 200


PUBLISH_BATCHES = """
import asyncio, pickle, sys
from pathlib import Path
from core.db import open_database
from indexer.catalog import publish

async def main():
    engine = await open_database(sys.argv[1], create=False)
    skills, vectors, space = pickle.loads(Path(sys.argv[2]).read_bytes())
    for start in range(0, len(skills), 50):
        await publish(engine, skills[start : start + 50], vectors, space)
        print("published", flush=True)

asyncio.run(main())
"""


def test_a_killed_process_leaves_whole_batches_only(
    database_url: str,
    space: Space,
    make_skill: MakeSkill,
    make_vectors: MakeVectors,
    tmp_path: Path,
) -> None:
    async def survivors() -> dict[str, int]:
        engine = await open_database(database_url, create=False)
        found = await _counts(engine)
        await engine.dispose()
        return found

    skills = [make_skill(f"s{i}") for i in range(5_000)]
    given = tmp_path / "given.pickle"
    given.write_bytes(pickle.dumps((skills, make_vectors(*skills), space)))
    command = [sys.executable, "-c", PUBLISH_BATCHES, database_url, str(given)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(3):
            process.stdout.readline()
        process.kill()
    found = asyncio.run(survivors())
    assert 150 <= found["feed"] < 5_000
    assert found["feed"] % 50 == 0
    assert found["skills"] == found["skill_rows"] == found["feed"]
    assert found["passages"] == 2 * found["feed"]
