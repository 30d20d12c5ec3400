"""Training examples: what a skill's own text asks, what is hidden of it, and the written tasks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from core.errors import SettingsError
from core.skill_format import parse
from core.types import PassageKind
from reranker.learn.examples import (
    MOST_OWNERS,
    Source,
    TasksError,
    TrainingSkill,
    masked,
    read_tasks,
    sources_without,
    training_skill,
    with_queries,
    without_boilerplate,
)

SKILL = """---
name: pdf-form-filling
description: Fills the fields of PDF forms from a table. NOT for scanned pages.
triggers: [fill in this tax form for me]
---
# Filling forms

{opening}

## Check boxes

A check box takes the value Yes or Off, and some forms name it otherwise. Read the field first.

## Examples

User: "please complete the visa application from my notes"
"""


def a_skill(place: str, **queries: tuple[str, ...]) -> TrainingSkill:
    return TrainingSkill(
        place=place,
        name=place,
        passages={PassageKind.ROUTING: place},
        queries={Source(source): texts for source, texts in queries.items()},
    )


def test_a_skill_asks_by_description_triggers_later_sections_and_quoted_requests() -> None:
    body = SKILL.format(opening="Open the form and list its fields. " * 20)
    skill = training_skill("o/r/pdf", parse(body.encode(), fallback_name="x"))
    assert skill.queries[Source.DESCRIPTION] == ("Fills the fields of PDF forms from a table.",)
    assert "fill in this tax form for me" in skill.queries[Source.TRIGGER]
    assert skill.queries[Source.QUOTED] == ("please complete the visa application from my notes",)
    assert any(text.startswith("Check boxes.") for text in skill.queries[Source.SECTION])
    assert not any("Open the form" in text for text in skill.queries[Source.SECTION])
    assert skill.passages.keys() == {PassageKind.ROUTING, PassageKind.BODY}


def test_a_section_in_the_body_passage_asks_nothing_of_it() -> None:
    skill = training_skill(
        "o/r/pdf", parse(SKILL.format(opening="Short.").encode(), fallback_name="x")
    )
    assert not any("check box" in text for text in skill.queries.get(Source.SECTION, ()))


@pytest.mark.parametrize(
    ("text", "name", "said", "left"),
    [
        ("pdf form filling\nFills forms", "pdf-form-filling", [], "Fills forms"),
        ("Use PDF-Form-Filling now", "pdf-form-filling", [], "Use now"),
        ("Open it. Fill  in\nthe form. Save", "x-y", ["fill in the form."], "Open it. Save"),
        ("prefilling stays", "filling", [], "prefilling stays"),
        ("nothing to hide", "", [], "nothing to hide"),
    ],
)
def test_masking_hides_the_name_and_what_was_said(
    text: str, name: str, said: list[str], left: str
) -> None:
    assert masked(text, name, said) == left


def test_what_many_skills_say_is_no_query() -> None:
    common = "this stands in every skill"
    skills = [a_skill(f"s{n}", section=(common, f"only here {n}")) for n in range(MOST_OWNERS + 1)]
    kept = without_boilerplate([*skills, a_skill("bare", section=(common,))])
    assert [skill.place for skill in kept] == [skill.place for skill in skills]
    assert all(skill.queries[Source.SECTION] == (f"only here {skill.place[1:]}",) for skill in kept)


def test_further_queries_join_those_of_their_source() -> None:
    skill = with_queries(
        a_skill("s", prompt=("one",)), {Source.PROMPT: ["two"], Source.TASK: ["3"]}
    )
    assert skill.queries == {Source.PROMPT: ("one", "two"), Source.TASK: ("3",)}


def test_sources_are_left_out_by_name() -> None:
    assert set(Source) - set(sources_without(["task", "quoted"])) == {Source.TASK, Source.QUOTED}
    with pytest.raises(SettingsError, match="no source poems"):
        sources_without(["poems"])


def test_the_written_tasks_are_what_the_model_card_says() -> None:
    tasks = read_tasks()
    long = [task for task in tasks if task.long]
    assert len(long) >= 800
    assert len({task.qid for task in tasks}) == len({task.text for task in tasks}) == len(tasks)
    assert sum(len(task.skills) > 1 for task in long) >= len(long) / 3 - 1
    assert all(1 <= len(set(task.skills)) == len(task.skills) <= 5 for task in tasks)
    languages = Counter(task.language for task in long)
    assert all(languages[language] >= 40 for language in ("zh", "ja", "es", "de"))
    words = [len(task.text.split()) for task in long if task.language in ("en", "es", "de")]
    assert min(words) >= 55 and max(words) <= 300
    asked = Counter(task.skills for task in tasks if task.qid.startswith("group-"))
    assert len(asked) >= 3_000 and set(asked.values()) <= {2, 3}
    assert all(len(task.text) <= 400 for task in tasks if not task.long)


def test_a_row_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_text('{"qid": "1"}\n')
    with pytest.raises(TasksError, match=r"tasks\.jsonl, line 1"):
        read_tasks([file])
