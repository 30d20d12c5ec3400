from collections.abc import Callable
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.retrieval.rows import RowTable
from core.types import Filters, IndexRow, Trust

MakeRow = Callable[..., IndexRow]
MakeRows = Callable[..., list[IndexRow]]


def assert_equal(one: RowTable, other: RowTable) -> None:
    for name, value in vars(one).items():
        if not name.startswith("_"):
            np.testing.assert_array_equal(value, getattr(other, name), err_msg=name)


@given(cuts=st.lists(st.integers(0, 40), max_size=4))
def test_tables_joined_are_the_table_of_all_rows(make_rows: MakeRows, cuts: list[int]) -> None:
    rows = make_rows(40)
    places = [0, *sorted(cuts), 40]
    parts = [RowTable.of(rows[a:b]) for a, b in pairwise(places)]
    assert_equal(RowTable.concat(parts), RowTable.of(rows))


def test_positions_find_every_row_and_no_other(make_rows: MakeRows) -> None:
    rows = make_rows(20, first=100)[::-1]
    table = RowTable.of(rows)
    wanted = np.array([rows[3].row, 5, rows[0].row, 10**12], dtype=np.int64)
    assert table.positions(wanted).tolist() == [3, -1, 0, -1]
    assert RowTable.of([]).positions(wanted).tolist() == [-1] * 4


def test_licences_languages_and_tags_match_whatever_their_case(make_row: MakeRow) -> None:
    table = RowTable.of([make_row(1, licence="MIT", language="EN", tags=("PDF", "Web"))])
    assert table.mask(Filters(licences=("mit",), languages=("en",), tags=("pdf", "WEB"))).all()


def test_a_row_without_licence_passes_no_licence_filter(make_row: MakeRow) -> None:
    table = RowTable.of([make_row(1, licence=None)])
    assert not table.mask(Filters(licences=("MIT",))).any()
    assert table.mask(Filters()).all()


def test_every_wanted_tag_must_be_there(make_row: MakeRow) -> None:
    rows = [make_row(1, tags=("a", "b")), make_row(2, tags=("a",)), make_row(3, tags=("b", "c"))]
    assert RowTable.of(rows).mask(Filters(tags=("a", "b"))).tolist() == [True, False, False]
    assert not RowTable.of(rows).mask(Filters(tags=("nowhere",))).any()


def test_the_trust_floor_is_inclusive_and_internal_skills_never_pass(make_row: MakeRow) -> None:
    rows = [
        make_row(1, trust=Trust.QUARANTINED),
        make_row(2, trust=Trust.SCREENED),
        make_row(3, trust=Trust.PINNED, routable=False),
    ]
    table = RowTable.of(rows)
    assert table.mask(Filters(trust_floor=Trust.SCREENED)).tolist() == [False, True, False]
    assert table.mask(Filters(trust_floor=Trust.QUARANTINED)).tolist() == [True, True, False]


def test_masks_stay_right_past_the_cache(make_rows: MakeRows) -> None:
    table = RowTable.of(make_rows(30))
    before = table.mask(Filters(catalogues=("owner/c1",))).copy()
    for i in range(200):
        assert not table.mask(Filters(catalogues=(f"no/{i}",))).any()
    assert (table.mask(Filters(catalogues=("owner/c1",))) == before).all()
