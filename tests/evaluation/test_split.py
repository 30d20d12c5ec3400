"""The split: whatever the data, nothing learned has seen a test skill."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.split import (
    SHARES,
    Assignment,
    Row,
    Ties,
    assign,
    committed,
    leave_one_catalogue_out,
    skills_of,
    summary,
)
from evaluation.types import Split, TriggerPair, catalogue_of
from tests.evaluation.rows import a_query

PLACES = [f"owner/repo{number % 6}/skill{number}" for number in range(40)]
HELD_WHOLE = frozenset({"owner/repo0", "owner/repo1"})

twins = st.dictionaries(st.sampled_from(PLACES), st.sampled_from(["g1", "g2", "g3", "g4"]))
skill_lists = st.lists(st.lists(st.sampled_from(PLACES), max_size=3, unique=True), max_size=40)
seeds = st.integers(0, 5)


def rows_over(lists: list[list[str]]) -> list[Row]:
    return [a_query(f"q{number}", *places) for number, places in enumerate(lists)]


def kinds(places: tuple[str, ...], ties: Ties) -> set[str]:
    """What two rows on different sides must not have in common."""
    groups = {f"twins {ties.twins[place]}" for place in places if place in ties.twins}
    repositories = {catalogue_of(place) for place in places} - ties.split_inside
    return {*places, *groups, *repositories}


@given(skill_lists, twins, seeds)
def test_no_skill_twin_or_repository_of_a_test_row_is_in_another_split(
    lists: list[list[str]], groups: dict[str, str], seed: int
) -> None:
    ties, rows = Ties(groups, HELD_WHOLE), rows_over(lists)
    assignment = assign(rows, ties, seed=seed)
    seen: dict[Split, set[str]] = {split: set() for split in Split}
    for row in rows:
        seen[assignment.by_qid[row.qid]] |= kinds(skills_of(row), ties)
    assert not seen[Split.TEST] & (seen[Split.TRAIN] | seen[Split.CALIBRATION])
    assert not seen[Split.TRAIN] & seen[Split.CALIBRATION]


@given(skill_lists, twins, seeds)
def test_a_skill_that_a_test_row_or_its_twin_needs_is_never_free_to_train_on(
    lists: list[list[str]], groups: dict[str, str], seed: int
) -> None:
    ties, rows = Ties(groups, HELD_WHOLE), rows_over(lists)
    assignment = assign(rows, ties, seed=seed)
    for row in rows:
        if assignment.by_qid[row.qid] is Split.TEST:
            tested = kinds(skills_of(row), ties)
            near = [place for place in PLACES if kinds((place,), ties) & tested]
            assert {assignment.of_skill(place) for place in near} <= {Split.TEST}


@given(skill_lists, twins, st.randoms())
def test_the_order_of_the_rows_is_without_effect(
    lists: list[list[str]], groups: dict[str, str], random: Random
) -> None:
    rows = rows_over(lists)
    before = assign(rows, Ties(groups)).checksum()
    random.shuffle(rows)
    assert assign(rows, Ties(groups)).checksum() == before


def test_a_skill_without_rows_belongs_to_no_split() -> None:
    assignment = assign([a_query("q", "a/b/c")], Ties({}))
    assert assignment.of_skill("x/y/z") is None


def test_a_skill_between_two_sides_belongs_to_the_stricter() -> None:
    ties = Ties({"a/held/s": "g", "b/repo/twin": "g"}, frozenset({"a/held"}))
    rows = [a_query("of twin", "a/held/s"), a_query("of repository", "b/repo/other")]
    found = {
        (assignment.by_qid["of twin"], assignment.by_qid["of repository"]): assignment.of_skill(
            "b/repo/twin"
        )
        for seed in range(60)
        for assignment in [assign(rows, ties, seed=seed)]
    }
    assert found[Split.TEST, Split.TRAIN] is Split.TEST
    assert found[Split.TRAIN, Split.TEST] is Split.TEST
    assert found[Split.TRAIN, Split.CALIBRATION] is Split.CALIBRATION


def test_rows_of_the_same_text_go_together_whatever_their_case_and_spacing() -> None:
    rows = [a_query("q1", text="Deploy  it", source="x"), a_query("q2", text="deploy it ")]
    for seed in range(20):
        assert len(set(assign(rows, Ties({}), seed=seed).by_qid.values())) == 1


def test_a_withheld_tool_and_a_trigger_pair_tie_like_a_right_skill() -> None:
    rows: list[Row] = [
        a_query("needs", "a/b/c"),
        a_query("withheld", withheld=("a/b/c",)),
        TriggerPair(qid="pair", text="t", place="a/b/c", should_load=False, split=Split.TEST),
    ]
    for seed in range(20):
        assignment = assign(rows, Ties({}, frozenset({"a/b"})), seed=seed)
        assert len(set(assignment.by_qid.values())) == 1


def test_free_rows_fall_in_the_shares_that_were_promised() -> None:
    assignment = assign([a_query(f"q{number}") for number in range(4000)], Ties({}))
    found = list(assignment.by_qid.values())
    for split, share in SHARES.items():
        assert found.count(split) / 4000 == pytest.approx(share, abs=0.025)


def test_two_rows_of_one_qid_are_refused() -> None:
    with pytest.raises(ValueError, match="'q'"):
        assign([a_query("q"), a_query("q")], Ties({}))


def test_another_seed_is_another_split() -> None:
    rows: list[Row] = [a_query(f"q{number}") for number in range(50)]
    checksums = {assign(rows, Ties({}), seed=seed).checksum() for seed in range(5)}
    assert len(checksums) == 5


def one_of_each_split() -> tuple[list[Row], Assignment]:
    rows = [
        a_query(f"{catalogue}-{number}", f"{catalogue}/s{number}", catalogue=catalogue)
        for catalogue in ("a/one", "b/two")
        for number in range(30)
    ]
    shared = {f"{catalogue}/s{n}": f"g{n}" for catalogue in ("a/one", "b/two") for n in range(10)}
    return [*rows], assign(rows, Ties(shared, frozenset({"a/one", "b/two"})))


def test_leaving_a_catalogue_out_fits_on_no_test_row_and_on_no_twin_of_it() -> None:
    rows, assignment = one_of_each_split()
    queries = [row for row in rows if not isinstance(row, TriggerPair)]
    folds = list(leave_one_catalogue_out(queries, assignment))
    assert [fold.catalogue for fold in folds] == ["a/one", "b/two"]
    for fold in folds:
        fitted = {query.qid for query in fold.fit}
        assert len(fold.held_out) == 30
        assert fitted
        assert all(assignment.by_qid[qid] is not Split.TEST for qid in fitted)
        assert not any(qid.startswith(fold.catalogue) for qid in fitted)
        assert all(int(qid.rpartition("-")[2]) >= 10 for qid in fitted)  # the others have twins


def test_the_committed_split_has_the_form_of_a_summary() -> None:
    rows, assignment = one_of_each_split()
    ours = summary({row.qid: "set" for row in rows}, assignment)
    assert committed().keys() == ours.keys()
    assert sum(ours["rows"]["set"].values()) == len(rows)
    assert ours["seed"] == committed()["seed"]
