"""Which section is meant by a heading, which fits a task, and what is sent of it."""

from __future__ import annotations

import pytest

from app.routing.content import called, chapter, fitting
from core.skill_format import sections_of

BODY = """# Bread

Bakes bread of every kind: dough, rye, wheat.

## Dough

Mix flour and water.

### Rye

Feed the starter with rye.

## Oven

Bake at 250 degrees.
"""
SECTIONS = sections_of(BODY)
HEADINGS = [section.heading for section in SECTIONS]


@pytest.mark.parametrize(
    ("task", "heading"),
    [
        ("how many degrees must it have to bake?", "Oven"),
        ("feed my starter", "Rye"),
        ("mix the flour", "Dough"),
    ],
)
def test_the_section_with_most_of_the_tasks_words_fits(task: str, heading: str) -> None:
    place = fitting(SECTIONS, task)
    assert place is not None and HEADINGS[place] == heading


def test_the_title_never_fits_since_all_else_stands_below_it() -> None:
    assert fitting(SECTIONS, "bread of every kind") is None


def test_a_heading_with_others_beside_it_is_no_title() -> None:
    place = fitting(sections_of("# Bread\n\nKnead.\n\n# Cake\n\nStir."), "knead it")
    assert place == 0


def test_the_only_section_fits() -> None:
    assert fitting(sections_of("# Bread\n\nKnead."), "knead it") == 0
    assert fitting(sections_of("Knead."), "knead it") == 0


@pytest.mark.parametrize("body", [BODY, "", "Knead."])
def test_no_section_fits_a_task_with_other_words(body: str) -> None:
    assert fitting(sections_of(body), "repair my bicycle") is None


def test_the_title_is_the_chapter_of_everything() -> None:
    assert chapter(SECTIONS, 0) == BODY.strip()


def test_the_preamble_has_nothing_below_it() -> None:
    assert chapter(sections_of("First.\n\n# Bread\n\nKnead."), 0) == "First."


def test_of_equal_headings_the_first_is_called() -> None:
    assert called(sections_of("# A\n\n## b\n\nx\n\n## b\n\ny"), "b") == 1


def test_the_same_heading_goes_before_one_like_it() -> None:
    sections = sections_of("# Oven  rack\n\n# OVEN RACK\n\n# Rest")
    assert called(sections, "OVEN RACK") == 1
    assert called(sections, " oven rack ") == 0
    assert called(sections, "oven") is None
