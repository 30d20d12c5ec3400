"""The feed is in order and without gaps, whoever publishes and whoever follows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.ext.asyncio import AsyncEngine

from core.db import open_database, read, write
from core.feed import Change, changes_since, head, next_seq
from core.types import Space
from indexer.catalog import PreparedSkill, publish, withdraw

MakeSkill = Callable[..., PreparedSkill]
MakeVectors = Callable[..., dict[bytes, NDArray[np.float16]]]


async def test_an_empty_feed_stands_at_0(engine: AsyncEngine) -> None:
    async with read(engine) as conn:
        assert await head(conn) == 0
        assert await changes_since(conn, 0, 10) == []


async def test_numbers_are_consecutive_and_given_back_by_a_rollback(engine: AsyncEngine) -> None:
    async with write(engine) as conn:
        assert await next_seq(conn, 3) == 1
        assert await next_seq(conn, 1) == 4
        await conn.rollback()
    async with write(engine) as conn:
        assert await next_seq(conn, 1) == 1


async def test_a_page_of_changes_starts_after_the_number_given(
    engine: AsyncEngine,
    space: Space,
    make_skill: MakeSkill,
    make_vectors: MakeVectors,
) -> None:
    one, two = make_skill("one"), make_skill("two")
    await publish(engine, [one, two], make_vectors(one, two), space)
    await withdraw(engine, [one.skill_id])
    async with read(engine) as conn:
        assert await changes_since(conn, 1, 1) == [
            Change(seq=2, skill_id=two.skill_id, row=2, replaced_row=None)
        ]
        assert await changes_since(conn, 2, 10) == [
            Change(seq=3, skill_id=one.skill_id, row=None, replaced_row=1)
        ]


async def test_a_follower_misses_nothing_while_two_programs_publish(
    database_url: str,
    space: Space,
    make_skill: MakeSkill,
    make_vectors: MakeVectors,
) -> None:
    engines = [await open_database(database_url, create=False) for _ in range(3)]
    seen: list[int] = []

    async def publisher(number: int) -> None:
        for batch in range(10):
            # The same skills from both, in opposite orders: where locks would meet crosswise.
            skills = [make_skill(f"s{i}", body=f"{number} {batch} {i}") for i in range(5)]
            ordered = skills if number else skills[::-1]
            await publish(engines[number], ordered, make_vectors(*skills), space)

    async def follow() -> None:
        while len(seen) < 100:
            async with read(engines[2]) as conn:
                changes = await changes_since(conn, seen[-1] if seen else 0, 7)
                assert not changes or await head(conn) >= changes[-1].seq
            seen.extend(change.seq for change in changes)
            await asyncio.sleep(0.001)

    await asyncio.wait_for(asyncio.gather(publisher(0), publisher(1), follow()), 60)
    assert seen == list(range(1, 101))
    for engine in engines:
        await engine.dispose()


async def test_each_change_names_the_row_it_replaces(
    engine: AsyncEngine,
    space: Space,
    make_skill: MakeSkill,
    make_vectors: MakeVectors,
) -> None:
    for body in ("first", "second", "third"):
        skill = make_skill(body=body)
        await publish(engine, [skill], make_vectors(skill), space)
    async with read(engine) as conn:
        changes = await changes_since(conn, 0, 10)
    assert [change.replaced_row for change in changes] == [None, changes[0].row, changes[1].row]
