"""Needs of a task, and the set of skills that serves them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.routing.needs import (
    ADDED_FROM,
    MOST_NEEDS,
    Needs,
    Shares,
    added,
    affordable,
    by_needs,
    done,
    in_company,
    serving,
)
from core.retrieval.lexical import analyse
from tests.app.test_select import ranked, rows, version

TASK = (
    "Merge the three signed contracts into one PDF with bookmarks.\n"
    "Then post a summary of the deadlines to the legal channel in Slack."
)


def needs_of(task: str) -> Needs:
    return Needs.of(task, dict.fromkeys(analyse(task), 1.0))


shares = st.lists(st.floats(0, 1), min_size=3, max_size=3).map(np.array)
sets = st.lists(st.tuples(shares, st.integers(1, 50)), min_size=1, max_size=7)


def test_each_sentence_is_a_need_and_short_ones_belong_to_the_one_before() -> None:
    assert len(needs_of(TASK).texts) == 2
    assert len(needs_of(f"{TASK} Thanks!").texts) == 2
    listed = "Two jobs for today:\n- clean the customer list of doubles\n- plot all sales by month"
    assert needs_of(listed).texts[1:] == (
        "clean the customer list of doubles",
        "plot all sales by month",
    )


def test_a_task_of_one_sentence_has_one_need_and_a_long_one_not_endlessly_many() -> None:
    assert len(needs_of("merge these PDFs").texts) == 1
    assert len(needs_of("Clean this long table of customers. " * 99).texts) == MOST_NEEDS


def test_a_skill_holds_the_share_of_a_need_that_its_words_are() -> None:
    needs = needs_of(TASK)
    merging, posting = needs.held(set(analyse("merge pdf bookmarks contracts signed three")))
    assert merging > 0.8 > 0.2 > posting


def test_what_serves_another_need_comes_before_what_repeats_the_first() -> None:
    needs = needs_of(TASK)
    merge, split, slack = (version(row) for row in (1, 2, 3))
    texts = {
        1: "merge pdf contracts",
        2: "pdf contracts bookmarks",
        3: "post summary slack channel",
    }
    found = [
        replace(scored, version=replace(scored.version, description=texts[scored.version.row]))
        for scored in ranked(merge, split, slack, fused=(0.9, 0.5, 0.45))
    ]
    assert rows(by_needs(found, needs)) == [1, 3, 2]
    assert rows(by_needs(found, needs_of(TASK.partition("\n")[0]))) == [1, 2, 3]


def test_skills_called_by_name_keep_their_places() -> None:
    needs = needs_of(TASK)
    found = ranked(*(version(row) for row in range(4)), named=3)
    assert rows(by_needs(found, needs))[0] == 3
    second = replace(found[1], exact_name=True)
    other = replace(found[2], version=replace(found[2].version, description="summary slack"))
    assert rows(by_needs([found[0], second, other, found[3]], needs))[:2] == [3, 0]


def test_what_was_not_scored_comes_no_earlier_for_its_score() -> None:
    found = ranked(*(version(row) for row in range(3)))
    best, scored, left = found
    unscored = replace(left, score=best.score + 5)
    assert by_needs([best, scored, unscored], needs_of(TASK)) == [best, scored, unscored]


def test_a_skill_is_worth_what_it_adds() -> None:
    first, same, other = np.array([0.9, 0.0]), np.array([0.8, 0.0]), np.array([0.0, 0.9])
    alone = [0.9, 0.85, 0.85]
    _, repeated, _ = in_company(alone, [first, same, other], 900)
    _, adding, _ = in_company(alone, [first, other, same], 900)
    assert repeated < adding
    assert in_company([0.9, 0.6], [first, same], 60)[1] < ADDED_FROM  # no padding
    assert in_company([], [], 0) == []


@given(st.lists(st.tuples(st.floats(0, 1), shares), min_size=1, max_size=8), st.integers(1, 20_000))
def test_p_useful_falls_and_the_first_keeps_its_own(
    skills: list[tuple[float, Shares]], chars: int
) -> None:
    alone = [p for p, _ in skills]
    found = in_company(alone, [held for _, held in skills], chars)
    assert found[0] == alone[0]
    assert found == sorted(found, reverse=True) and all(0 <= p <= 1 for p in found)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.integers(1, 20_000))
def test_more_gain_or_use_never_lowers_what_is_added(
    p: float, one: float, other: float, chars: int
) -> None:
    low, high = sorted((one, other))
    assert added(p, low, chars) <= added(p, high, chars)
    assert added(low, p, chars) <= added(high, p, chars)


@given(sets, st.integers(0, 200), st.integers(0, 200))
def test_more_budget_never_covers_less(
    skills: list[tuple[Shares, int]], one: int, other: int
) -> None:
    held, costs = [each for each, _ in skills], [cost for _, cost in skills]
    small, large = sorted((one, other))
    chosen = [affordable(held, costs, budget) for budget in (small, large, None)]
    covered = [done(held, sorted(part)) for part in chosen]
    assert covered == sorted(covered)
    assert sum(costs[n] for n in chosen[0]) <= small
    assert chosen[2] == set(range(len(skills)))


def test_of_parts_that_do_as_much_the_cheapest_is_taken() -> None:
    same = [np.array([0.5]), np.array([0.5]), np.array([0.5])]
    assert affordable([*same, np.array([0.5])], [4, 9, 3, 3], 10) == {0}
    more = [np.array([0.5, 0.0]), np.array([0.0, 0.4]), np.array([0.0, 0.4]), np.array([0.0, 0.3])]
    assert affordable(more, [4, 5, 4, 1], 9) == {0, 2}


def test_what_the_decision_rests_on_is_bought_or_nothing_is() -> None:
    held = [np.array([0.2]), np.array([0.9])]
    assert affordable(held, [9, 4], 8) == set()
    assert affordable(held, [9, 4], 9) == {0}


def test_a_need_is_said_in_the_tasks_own_words() -> None:
    needs = needs_of("First merge the PDFs, then clean the csv. Resize all images, thanks!")
    assert needs.texts == (
        "First merge the PDFs, then",
        "clean the csv.",
        "Resize all images, thanks!",
    )


def test_every_need_is_served_by_one_and_every_skill_serves_some() -> None:
    held = [np.array([0.9, 0.1, 0.0]), np.array([0.2, 0.8, 0.0]), np.array([0.3, 0.2, 0.0])]
    assert serving(held, ["a", "b", "c"]) == [["a"], ["b"], ["a"]]
    assert serving([], ["a"]) == []
