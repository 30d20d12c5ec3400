from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import SettingsError
from core.retrieval.arms import dense
from core.retrieval.delta import Delta
from core.retrieval.dense import PassageIndex, new_faiss_index
from core.retrieval.generation import Generation
from core.retrieval.view import View
from core.types import ArmHit, Filters, IndexRow, Space, Trust, Vector, Vectors

EVERYTHING = Filters(trust_floor=Trust.QUARANTINED)


def allowed(row: IndexRow, filters: Filters) -> bool:
    """What a filter means, said once more and row by row."""
    return (
        row.routable
        and row.trust >= filters.trust_floor
        and (not filters.catalogues or row.catalogue in filters.catalogues)
        and (not filters.licences or row.licence in filters.licences)
        and (not filters.languages or row.language in filters.languages)
        and set(filters.tags) <= set(row.tags)
    )


def brute_force(rows: Sequence[IndexRow], query: Vector, k: int) -> list[ArmHit]:
    """Each skill by its best passage, from the fp16 vectors, in numpy."""
    hits = []
    for row in rows:
        scores = np.array([p.vector.astype(np.float32) @ query for p in row.passages])
        best = int(scores.argmax())
        score = float(scores[best])
        hits.append(ArmHit(row=row.row, score=score, share=max(score, 0.0), passage=best))
    return sorted(hits, key=lambda hit: (-hit.score, hit.row))[:k]


TIE = 1e-6


def assert_same(found: Sequence[ArmHit], expected: Sequence[ArmHit]) -> None:
    # FAISS and numpy add in another order: what differs by less than TIE may change places.
    places = {(hit.row, hit.passage): hit.score for hit in expected}
    last = expected[-1].score if expected else 0.0
    for hit, same_place in zip(found, expected, strict=True):
        own = places.get((hit.row, hit.passage), last)
        assert abs(own - same_place.score) < TIE
    assert [hit.score for hit in found] == pytest.approx([hit.score for hit in expected], abs=1e-5)
    assert [hit.share for hit in found] == pytest.approx([hit.share for hit in expected], abs=1e-5)


@pytest.fixture(scope="module")
def rows(make_rows: Callable[..., list[IndexRow]]) -> list[IndexRow]:
    return make_rows(300, seed=3)


@pytest.fixture(scope="module")
def view(rows: list[IndexRow], make_view: Callable[..., View]) -> View:
    """Two thirds in the generation, one third in the delta."""
    return make_view(rows[:200], rows[200:])


filters_strategy = st.builds(
    Filters,
    catalogues=st.lists(st.sampled_from([f"owner/c{i}" for i in range(4)]), max_size=2).map(tuple),
    licences=st.sampled_from([(), ("MIT",), ("MIT", "Apache-2.0")]),
    languages=st.sampled_from([(), ("de",), ("en", "de")]),
    tags=st.lists(st.sampled_from(["pdf", "web", "db"]), max_size=2, unique=True).map(tuple),
    trust_floor=st.sampled_from(list(Trust)),
)


@given(filters=filters_strategy, seed=st.integers(0, 10_000), k=st.sampled_from([1, 10, 400]))
def test_the_top_k_is_that_of_brute_force_over_the_allowed_rows(
    view: View,
    rows: list[IndexRow],
    vectors: Callable[[int, int], Vectors],
    filters: Filters,
    seed: int,
    k: int,
) -> None:
    query = vectors(seed, 1)[0]
    visible = [row for row in rows if allowed(row, filters)]
    found = dense(view, query, filters, k, threads=1)
    assert_same(found, brute_force(visible, query, k))


@given(removed=st.sets(st.integers(0, 299), max_size=290), seed=st.integers(0, 10_000))
def test_removed_rows_never_appear_and_their_places_are_filled(
    view: View,
    rows: list[IndexRow],
    vectors: Callable[[int, int], Vectors],
    removed: set[int],
    seed: int,
) -> None:
    query = vectors(seed, 1)[0]
    later = View(view.generation, view.delta.apply([], removed))
    left = [row for row in rows if row.row not in removed and allowed(row, EVERYTHING)]
    assert_same(dense(later, query, EVERYTHING, 10, threads=1), brute_force(left, query, 10))


def test_a_generation_with_a_delta_answers_like_one_rebuilt_with_everything(
    view: View,
    rows: list[IndexRow],
    make_view: Callable[..., View],
    vectors: Callable[[int, int], Vectors],
) -> None:
    rebuilt = make_view(rows)
    for query in vectors(8, 20):
        expected = dense(rebuilt, query, Filters(), 25, threads=1)
        assert_same(dense(view, query, Filters(), 25, threads=1), expected)


def test_a_skill_counts_by_its_best_passage_not_by_the_sum(
    make_row: Callable[..., IndexRow], make_view: Callable[..., View]
) -> None:
    query = np.eye(16, dtype=np.float32)[0]
    near, middling = 0.9 * query, 0.6 * query
    view = make_view(
        [make_row(1, [middling, *([0.5 * query] * 5)]), make_row(2, [0 * query, near])]
    )
    hits = dense(view, query, Filters(), 2, threads=1)
    assert [(hit.row, hit.passage) for hit in hits] == [(2, 1), (1, 0)]


def test_a_skill_of_many_passages_leaves_room_for_the_others(
    make_row: Callable[..., IndexRow], make_view: Callable[..., View]
) -> None:
    query = np.eye(16, dtype=np.float32)[0]
    long = make_row(0, [query] * 500)
    view = make_view([long, *(make_row(i, [query * (1 - i / 100)]) for i in range(1, 30))])
    hits = dense(view, query, Filters(), 20, threads=1)
    assert [hit.row for hit in hits] == list(range(20))


def test_a_view_without_rows_finds_nothing(
    space: Space, vectors: Callable[[int, int], Vectors]
) -> None:
    generation = Generation.empty(space, vectors(0, 0))
    view = View(generation, Delta.empty(generation))
    assert dense(view, vectors(0, 1)[0], Filters(), 10, threads=1) == []


@pytest.mark.skipif(
    "hasattr(__import__('faiss'), 'StandardGpuResources')", reason="has a GPU FAISS"
)
def test_asking_for_a_gpu_that_faiss_was_not_built_for_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"loadstar\[gpu\]"):
        PassageIndex(new_faiss_index(16), np.zeros(1, dtype=np.int64), gpu=True)


def test_a_view_of_one_row_gives_its_score_whatever_hides_it(
    rows: list[IndexRow], view: View, vectors: Callable[[int, int], Vectors]
) -> None:
    query, strict = vectors(11, 1)[0], Filters(trust_floor=Trust.PINNED)
    for row in (rows[0], rows[250]):
        assert_same(
            dense(view.only(row.row), query, strict, 5, threads=1), brute_force([row], query, 1)
        )
    assert dense(view.only(-1), query, EVERYTHING, 5, threads=1) == []


@given(filters=filters_strategy)
def test_a_view_sees_just_what_its_filters_let_through(
    filters: Filters, rows: list[IndexRow], view: View
) -> None:
    seen = [row.row for row in rows if view.sees(row.row, filters)]
    assert seen == [row.row for row in rows if allowed(row, filters)]
