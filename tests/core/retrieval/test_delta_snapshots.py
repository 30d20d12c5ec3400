import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from core.errors import SpaceMismatchError
from core.retrieval.arms import TantivyArm, dense
from core.retrieval.delta import Delta
from core.retrieval.generation import Generation
from core.retrieval.view import View
from core.types import Filters, IndexRow, Space, Trust, Vectors

EVERYTHING = Filters(trust_floor=Trust.QUARANTINED)

MakeRow = Callable[..., IndexRow]
RandomVectors = Callable[[int, int], Vectors]


@pytest.fixture
def generation(space: Space, vectors: RandomVectors) -> Generation:
    return Generation.empty(space, vectors(0, 2))


def words_of(generation: Generation, delta: Delta) -> list[int]:
    hits = TantivyArm().search(View(generation, delta), "shared", EVERYTHING, 100).hits
    return sorted(hit.row for hit in hits)


def test_an_older_snapshot_does_not_see_what_came_after(
    generation: Generation, make_row: MakeRow
) -> None:
    first = Delta.empty(generation).apply([make_row(1, body="shared")], [])
    second = first.apply([make_row(2, body="shared")], [1])
    assert words_of(generation, first) == [1]
    assert words_of(generation, second) == [2]


def test_only_the_latest_snapshot_can_be_extended(
    generation: Generation, make_row: MakeRow
) -> None:
    first = Delta.empty(generation).apply([make_row(1)], [])
    first.apply([make_row(2)], [])
    with pytest.raises(ValueError, match="latest"):
        first.apply([make_row(3)], [])


def test_applying_a_change_twice_does_nothing_more(
    generation: Generation, make_row: MakeRow
) -> None:
    rows = [make_row(1, body="shared"), make_row(2, body="shared")]
    once = Delta.empty(generation).apply(rows, [2])
    twice = once.apply([*rows, rows[0]], [2])
    assert words_of(generation, twice) == [1]
    assert len(twice.segment.rows) == 2


def test_a_removed_row_never_comes_back(generation: Generation, make_row: MakeRow) -> None:
    row = make_row(1, body="shared")
    together = Delta.empty(generation).apply([row], [1])
    after = Delta.empty(generation).apply([], [1]).apply([row], [])
    assert words_of(generation, together) == words_of(generation, after) == []


def test_a_row_that_the_generation_holds_already_is_found_once(
    make_row: MakeRow, make_view: Callable[..., View], vectors: RandomVectors
) -> None:
    row = make_row(1, body="shared")
    view = make_view([row], [row])
    assert [hit.row for hit in dense(view, vectors(1, 1)[0], EVERYTHING, 5, threads=1)] == [1]
    assert words_of(view.generation, view.delta) == [1]
    assert view.count(EVERYTHING) == 1


def test_a_view_over_two_spaces_is_refused(
    generation: Generation, space: Space, vectors: RandomVectors
) -> None:
    other = Generation.empty(replace(space, model="other"), vectors(0, 2))
    with pytest.raises(SpaceMismatchError, match="other"):
        View(generation, Delta.empty(other))


def test_searches_run_while_another_thread_applies_changes(
    generation: Generation, make_row: MakeRow, vectors: RandomVectors
) -> None:
    latest = [Delta.empty(generation)]
    done = threading.Event()
    wrong: list[object] = []

    def search() -> None:
        while not done.is_set():
            delta = latest[0]
            view, count = View(generation, delta), len(delta.segment.rows)
            by_vector = dense(view, vectors(1, 1)[0], EVERYTHING, 100, threads=1)
            if len(by_vector) != count or words_of(generation, delta) != list(range(count)):
                wrong.append((count, by_vector))

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for row in range(60):
        latest[0] = latest[0].apply([make_row(row, body="shared")], [])
    done.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert words_of(generation, latest[0]) == list(range(60))
