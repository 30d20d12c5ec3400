"""The body of a SKILL.md: sections, code blocks and what says when to use the skill."""

from __future__ import annotations

import pytest

from core.skill_format import parse, sections_of
from core.types import SkillDraft

GOOD = """---
name: bread
description: Bakes bread. Use when the user wants a loaf.
---

# Bread

Knead for ten minutes.
"""


def read(text: str) -> SkillDraft:
    return parse(text.encode(), fallback_name="bread")


def described(value: str) -> str:
    return f"---\nname: bread\ndescription: {value}\n---\nKnead.\n"


def test_sections_carry_their_heading_level_text_and_line() -> None:
    draft = read(GOOD + "\nRest\n----\n\n```Python x\n# no heading\n```\n\n### Bake\nhot\n")
    assert [(s.heading, s.level, s.line) for s in draft.sections] == [
        ("Bread", 1, 6),
        ("Rest", 2, 10),
        ("Bake", 3, 17),
    ]
    assert draft.sections[1].text == "```Python x\n# no heading\n```"


def test_text_before_the_first_heading_is_a_section_of_level_0() -> None:
    draft = read("Some words.\n\n# Bread\n")
    assert next((s.heading, s.level, s.text) for s in draft.sections) == ("", 0, "Some words.")


@pytest.mark.parametrize(
    "text",
    [
        GOOD + "\nRest\n----\n\n```\n# no heading\n```\n\n\n### Bake ##\n\n hot\n\n",
        "Some words.\r\n\r\n" + GOOD,
        "---\nname: bread\n---\n\x00\n\n---\nname: x\n\n# Bread\n\x07\n\n## \n",
        "",
    ],
)
def test_a_stored_body_has_the_sections_of_its_file(text: str) -> None:
    draft = read(text)
    assert [(s.heading, s.level, s.text) for s in sections_of(draft.body)] == [
        (s.heading, s.level, s.text) for s in draft.sections
    ]


def test_code_blocks_carry_language_and_line() -> None:
    draft = read(GOOD + "\n- a\n\n  ```Python x\n  1\n  ```\n")
    assert [(b.language, b.text, b.line) for b in draft.code_blocks] == [("python", "1\n", 12)]


def test_lines_stay_true_behind_text_that_stands_before_the_frontmatter() -> None:
    draft = read("Some words.\n\n" + GOOD)
    assert [(s.heading, s.line) for s in draft.sections] == [("", 1), ("Bread", 8)]


def test_triggers_come_from_keys_then_description_then_body() -> None:
    draft = read(
        "---\nname: bread\ndescription: Bakes. Use when a loaf is wanted! Not for cakes.\n"
        "triggers: [bake bread]\nmetadata:\n  triggers:\n    keywords: [@if, sourdough]\n---\n"
        "## When to use\n\n- **Dough** is wet\n\nDon't use it when:\n\n- cakes\n\n"
        "## When NOT to use\n\n- pies\n"
    )
    assert draft.triggers == (
        "bake bread",
        "@if",
        "sourdough",
        "Use when a loaf is wanted!",
        "Dough is wet",
    )


@pytest.mark.parametrize(
    "sentence",
    [
        "USE WHEN baking",
        "Use this skill for baking",
        "This skill should be used when baking",
        'Trigger with phrases like "bake bread"',
        "Triggers: bake, knead",
        "当用户需要烘焙时使用",
        "适用于烘焙",
        "パンを焼くときに使用",
    ],
)
def test_a_sentence_that_says_when_is_a_trigger(sentence: str) -> None:
    assert read(described(f"'Bakes.\n\n  {sentence}'")).triggers == (sentence,)


@pytest.mark.parametrize(
    "sentence", ["Do not use for cakes", "Don't use when baking", "Bakes bread"]
)
def test_a_sentence_that_does_not_is_none(sentence: str) -> None:
    assert read(described(sentence)).triggers == ()


def test_triggers_are_bounded() -> None:
    items = "\n".join(f"- {i} {'x' * 400}" for i in range(40))
    draft = read(GOOD + f"\n## Use cases\n\n{items}\n")
    assert len(draft.triggers) == 20
    assert max(map(len, draft.triggers)) == 300
