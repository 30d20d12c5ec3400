"""Reads give back what was published, live or past."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy.ext.asyncio import AsyncEngine

from core import store
from core.db import read
from core.errors import SpaceMismatchError
from core.types import IndexRow, Problem, Severity, Space, skill_id, text_hash
from indexer.catalog import PreparedSkill, publish, withdraw

MakeSkill = Callable[..., PreparedSkill]
MakeVectors = Callable[..., dict[bytes, NDArray[np.float16]]]


@pytest.fixture
async def published(
    engine: AsyncEngine, space: Space, make_skill: MakeSkill, make_vectors: MakeVectors
) -> list[PreparedSkill]:
    """Three skills of two catalogues, at rows 1, 2 and 3."""
    skills = [make_skill("a"), make_skill("b"), make_skill("a", catalogue="beta/kit")]
    await publish(engine, skills, make_vectors(*skills), space)
    return skills


async def test_an_index_row_holds_what_was_published(
    engine: AsyncEngine, space: Space, published: list[PreparedSkill], make_vectors: MakeVectors
) -> None:
    skill, given = published[0], make_vectors(*published)
    async with read(engine) as conn:
        (row,) = await store.index_rows(conn, [1], space)
    assert (row.skill_id, row.catalogue, row.name) == (skill.skill_id, "acme/tools", "a")
    assert (row.body, row.licence, row.tags) == (skill.draft.body, "MIT", ("documents",))
    assert (row.triggers, row.trust) == (skill.draft.triggers, skill.trust)
    assert row.routable is True
    assert [passage.section for passage in row.passages] == ["", "PDF"]
    for stored, passage in zip(row.passages, skill.passages, strict=True):
        assert stored.vector.dtype == np.float16
        np.testing.assert_array_equal(stored.vector, given[text_hash(passage.text)])


async def test_index_rows_come_in_ascending_order_without_the_unknown(
    engine: AsyncEngine, space: Space, published: list[PreparedSkill]
) -> None:
    async with read(engine) as conn:
        rows = await store.index_rows(conn, [3, 99, 1, 3], space)
        assert await store.index_rows(conn, [], space) == []
    assert [row.row for row in rows] == [1, 3]


async def test_rows_without_vectors_in_the_space_are_refused_by_its_name(
    engine: AsyncEngine, space: Space, published: list[PreparedSkill]
) -> None:
    other = replace(space, revision="2")
    async with read(engine) as conn:
        with pytest.raises(SpaceMismatchError, match=f"4 passages .* {other.id}"):
            await store.index_rows(conn, [1, 2], other)


async def test_the_stream_gives_every_live_row_once_in_order(
    engine: AsyncEngine, space: Space, make_skill: MakeSkill, make_vectors: MakeVectors
) -> None:
    skills = [make_skill(f"s{i}") for i in range(10)]
    await publish(engine, skills, make_vectors(*skills), space)
    again = make_skill("s3", body="changed")
    await publish(engine, [again], make_vectors(again), space)
    await withdraw(engine, [skills[5].skill_id])
    batches: list[list[IndexRow]] = []
    async with read(engine) as conn:
        async for batch in store.stream_live_rows(conn, space, batch=4):
            batches.append(batch)
        singly = await store.index_rows(conn, range(1, 12), space)
    live = [1, 2, 3, 5, 7, 8, 9, 10, 11]
    assert [row.row for batch in batches for row in batch] == live
    assert [len(batch) for batch in batches] == [4, 4, 1]
    bodies = {row.row: row.body for row in singly}
    assert all(row.body == bodies[row.row] for batch in batches for row in batch)


async def test_more_rows_than_one_in_list_holds_are_all_read(
    engine: AsyncEngine, space: Space, make_skill: MakeSkill, make_vectors: MakeVectors
) -> None:
    skills = [make_skill(f"s{i}") for i in range(1_100)]
    await publish(engine, skills, make_vectors(*skills), space)
    async with read(engine) as conn:
        assert len(await store.index_rows(conn, range(1, 1_101), space)) == 1_100
        assert len(await store.versions(conn, range(1, 1_101))) == 1_100


async def test_a_version_holds_what_was_published(
    engine: AsyncEngine, space: Space, make_skill: MakeSkill, make_vectors: MakeVectors
) -> None:
    oddity = Problem(code="odd", severity=Severity.WARNING, detail="so odd", line=3)
    skill = make_skill()
    skill = replace(skill, draft=replace(skill.draft, problems=(oddity,)))
    await publish(engine, [skill], make_vectors(skill), space)
    async with read(engine) as conn:
        version = (await store.versions(conn, [1, 99]))[1]
    assert (version.catalogue, version.path, version.digest) == (
        skill.catalogue,
        skill.path,
        skill.digest,
    )
    assert (version.declared_version, version.tokens) == ("1.2", skill.tokens)
    assert (version.passages, version.problems) == (skill.passages, (oddity,))
    np.testing.assert_array_equal(version.signature, skill.signature)
    assert version.signature.dtype == np.uint32


async def test_a_skill_is_found_by_the_id_of_its_place(
    engine: AsyncEngine, published: list[PreparedSkill]
) -> None:
    async with read(engine) as conn:
        found = await store.live_skill(conn, skill_id("beta/kit", "a"))
        assert await store.live_skill(conn, skill_id("beta/kit", "b")) is None
    assert found is not None and found.row == 3


async def test_pages_of_skills_join_without_gap_or_repeat(
    engine: AsyncEngine, published: list[PreparedSkill]
) -> None:
    async with read(engine) as conn:
        first = await store.list_skills(conn, None, None, 2)
        rest = await store.list_skills(conn, None, first[-1].skill_id, 2)
        acme = await store.list_skills(conn, "acme/tools", None, 10)
        assert await store.list_skills(conn, "no/such", None, 10) == []
    ids = [version.skill_id for version in first + rest]
    assert ids == sorted(skill.skill_id for skill in published)
    assert {version.catalogue for version in acme} == {"acme/tools"}


async def test_withdrawn_skills_count_no_more_and_list_no_more(
    engine: AsyncEngine, published: list[PreparedSkill]
) -> None:
    await withdraw(engine, [published[2].skill_id])
    async with read(engine) as conn:
        counts = [(found.name, found.skills) for found in await store.list_catalogues(conn)]
        assert counts == [("acme/tools", 2), ("beta/kit", 0)]
        assert await store.count_live(conn) == 2
        assert await store.live_skill(conn, published[2].skill_id) is None
        assert len(await store.list_skills(conn, None, None, 10)) == 2
        assert await store.catalogue_exists(conn, "beta/kit")
        assert not await store.catalogue_exists(conn, "no/such")


async def test_history_is_newest_first_and_says_which_version_is_live(
    engine: AsyncEngine,
    space: Space,
    published: list[PreparedSkill],
    make_skill: MakeSkill,
    make_vectors: MakeVectors,
) -> None:
    again = make_skill("a", body="changed")
    await publish(engine, [again], make_vectors(again), space)
    async with read(engine) as conn:
        history = await store.version_history(conn, again.skill_id)
        assert await store.version_history(conn, "skl_none") == []
    assert [(past.digest, past.live) for past in history] == [
        (again.digest, True),
        (published[0].digest, False),
    ]
    assert history[0].published_at >= history[1].published_at
    assert history[0].published_at.tzinfo is not None


async def test_files_come_back_byte_for_byte(
    engine: AsyncEngine, published: list[PreparedSkill]
) -> None:
    skill = published[0]
    async with read(engine) as conn:
        listed = await store.file_list(conn, skill.digest)
        for path, data in skill.files.items():
            assert await store.file_bytes(conn, skill.digest, path) == data
        assert await store.file_bytes(conn, skill.digest, "no-such-file") is None
        assert await store.file_list(conn, "sha256:none") == []
    assert [(file.path, file.size) for file in listed] == [
        (path, len(data)) for path, data in skill.files.items()
    ]


async def test_derivations_tell_what_need_not_be_read_again(
    engine: AsyncEngine, published: list[PreparedSkill]
) -> None:
    await withdraw(engine, [published[1].skill_id])
    async with read(engine) as conn:
        known = await store.live_derivations(conn)
    assert known == {
        ("acme/tools", "a"): (published[0].digest, "1"),
        ("beta/kit", "a"): (published[2].digest, "1"),
    }
