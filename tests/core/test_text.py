"""Passages and query text: what is embedded, and that ingestion and queries agree on it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.skill_format import parse
from core.text import (
    PASSAGE_CHARS,
    passages,
    prose,
    query_text,
    routing_text,
    spoken_name,
    without_exclusions,
)
from core.types import PassageKind, SkillDraft

SKILL = b"""---
name: pdf-form_filling
description: Fills AcroForm fields. Use when a PDF has blanks to complete.
---
Intro line.

# Steps

Read the [field list](https://example.org/fields) first.

```python
secret_code()
```

# Pitfalls

Checkboxes need `/Yes`.
"""


def draft(data: bytes = SKILL) -> SkillDraft:
    return parse(data, fallback_name="folder")


def test_the_routing_passage_comes_first_and_holds_name_and_description() -> None:
    first = passages(draft())[0]
    assert first.kind is PassageKind.ROUTING
    assert first.text.startswith("pdf form filling\nFills AcroForm fields.")


def test_a_trigger_that_the_description_already_says_is_not_said_twice() -> None:
    assert routing_text(draft()).count("Use when a PDF has blanks") == 1


def test_a_body_passage_opens_with_the_name_and_reads_across_sections() -> None:
    body = passages(draft())[1]
    assert body.kind is PassageKind.BODY
    assert body.text.startswith("pdf form filling\nIntro line.")
    assert "Steps" in body.text and "Checkboxes need" in body.text


def test_code_link_targets_and_markup_are_not_embedded() -> None:
    text = passages(draft())[1].text
    assert "field list" in text
    for noise in ("secret_code", "https://", "`", "#"):
        assert noise not in text


def test_a_skill_without_a_body_has_only_its_routing_passage() -> None:
    kinds = [p.kind for p in passages(draft(b"---\nname: a-b\ndescription: does a\n---\n"))]
    assert kinds == [PassageKind.ROUTING]


def test_a_name_is_spoken_as_words() -> None:
    assert spoken_name("pdf-form_filling.v2/x") == "pdf form filling v2 x"


def test_the_newest_message_stands_next_to_the_task() -> None:
    assert query_text(" task ", ["older", "newer"]) == "task\nnewer\nolder"


@given(st.text(max_size=3_000))
def test_a_body_passage_never_exceeds_its_length(body: str) -> None:
    made = passages(draft(b"---\nname: n-n\ndescription: d\n---\n" + body.encode()))
    for passage in made[1:]:
        assert len(passage.text) <= len("n n\n") + PASSAGE_CHARS + 1


@given(st.text(alphabet="ab `~#*[]()<>|-_\n", max_size=300))
def test_prose_is_one_line_whatever_the_markup(markdown: str) -> None:
    text = prose(markdown)
    assert "\n" not in text and text == text.strip()


@pytest.mark.parametrize(
    ("description", "kept"),
    [
        ("Fills forms. NOT for merging (use pdf-merge). Fast.", "Fills forms. Fast."),
        ("Fills forms; do not use when a scan has no fields.", "Fills forms; do "),
        ("Edits sheets. For charts→draw, for pivots→analyse.", "Edits sheets."),
        ("Not only for forms.", "Not only for forms."),
        (
            "Never loses data. Use when forms are blank.",
            "Never loses data. Use when forms are blank.",
        ),
        ("填写表单。不适用于扫描件。", "填写表单。"),
    ],
)
def test_what_a_skill_is_not_for_is_left_out(description: str, kept: str) -> None:
    assert without_exclusions(description) == kept


@given(st.text())
def test_exclusions_of_any_text_can_be_left_out(text: str) -> None:
    assert len(without_exclusions(text)) <= len(text)
