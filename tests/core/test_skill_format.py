"""A SKILL.md is read whatever its bytes are, and every oddity is named with its line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import MappingProxyType

import pytest

from core.skill_format import PROBLEMS, parse
from core.types import SkillDraft

DOCS = Path(__file__).parents[2] / "docs" / "skill-format.md"
GOOD = """---
name: bread
description: Bakes bread. Use when the user wants a loaf.
---

# Bread

Knead for ten minutes.
"""


def read(text: str | bytes, folder: str = "bread") -> SkillDraft:
    return parse(text.encode() if isinstance(text, str) else text, fallback_name=folder)


def lines_of(draft: SkillDraft) -> dict[str, int | None]:
    """Each problem code with the line of its first finding."""
    return {problem.code: problem.line for problem in reversed(draft.problems)}


def with_keys(keys: str) -> str:
    return f"---\nname: bread\ndescription: Bakes bread.\n{keys}\n---\nKnead.\n"


def described(value: str) -> str:
    return f"---\nname: bread\ndescription: {value}\n---\nKnead.\n"


def named(value: str) -> str:
    return f"---\nname: {value}\ndescription: Bakes bread.\n---\nKnead.\n"


# For every code one small file that shows it, and the line where it stands.
SAMPLES: list[tuple[str, int, str | bytes]] = [
    ("bom", 1, b"\xef\xbb\xbf" + GOOD.encode()),
    ("crlf", 1, GOOD.replace("\n", "\r\n")),
    ("crlf", 2, "---\n" + GOOD[4:].replace("\n", "\r")),
    ("not-utf8", 3, GOOD.replace("Bakes", "Bäckt").encode("latin-1")),
    ("not-utf8", 1, GOOD.encode("utf-16")),
    ("not-utf8", 1, GOOD.encode("utf-16-le")),
    ("oversize", 11, GOOD.encode() + b"\n\n" + b"x" * 2_000_000),
    ("nul-chars", 8, GOOD.replace("Knead", "Kn\0ead")),
    ("control-chars", 8, GOOD.replace("Knead", "Kn\x07ead")),
    ("bidi-chars", 3, GOOD.replace("Bakes", "\u202eBakes")),
    ("bidi-chars", 3, described('"Bakes \\u202e bread."')),
    ("zero-width-chars", 3, GOOD.replace("Bakes", "Ba\u200bkes")),
    ("tag-chars", 3, GOOD.replace("Bakes", "Bakes\U000e0041")),
    ("leading-blank", 1, "\n\n" + GOOD),
    ("comment-before-frontmatter", 2, "\n<!-- of\n the house -->\n\n" + GOOD),
    ("fenced-file", 1, f"````markdown\n{GOOD}````\n"),
    ("fenced-file", 1, "```yaml\n---\nname: bread\n---\n```\n\nKnead.\n"),
    ("fenced-file", 1, "```yaml\nname: bread\n```\n\nKnead.\n"),
    ("frontmatter-not-first", 3, "Some words.\n\n" + GOOD),
    ("frontmatter-not-first", 4, f"How to write one:\n\n```yaml\n{GOOD}```\n"),
    ("no-frontmatter", 1, "# Bread\n\nKnead for ten minutes.\n"),
    ("empty-frontmatter", 1, "---\n---\n\n# Bread\n"),
    ("empty-frontmatter", 2, "---\n# only a comment\n---\n\n# Bread\n"),
    ("no-opening-fence", 1, GOOD[4:]),
    ("unclosed-frontmatter", 1, "---\nname: bread\ndescription: Bakes.\n\n# Bread\n"),
    ("unclosed-frontmatter", 5, "---\nname: a: b\ndescription: Bakes.\n\n# Bread\n\nx\n\n---\nz\n"),
    ("odd-fence", 1, "-" + GOOD),
    ("odd-fence", 4, GOOD.replace("loaf.\n---\n", "loaf.\n—--\n")),
    ("odd-fence", 4, GOOD.replace("loaf.\n---\n", "loaf.\n---# Loaf\n")),
    ("one-line-frontmatter", 1, "--- name: bread description: Bakes bread. ---\n\nKnead.\n"),
    ("multiple-documents", 5, "---\nname: bread\ndescription: x\n---\n" + GOOD),
    ("multiple-documents", 4, "---\nname: bread\n...\n---\nname: x\n---\nKnead.\n"),
    ("oversize-frontmatter", 4, with_keys("note: " + "x" * 100_000)),
    (
        "oversize-frontmatter",
        1002,
        with_keys("a: b: c\n" + "".join(f"k{i}:\n" for i in range(1200))),
    ),
    ("yaml-error", 3, described("Bakes: bread")),
    ("yaml-error", 4, with_keys("note: a\x01b")),
    ("yaml-too-complex", 2, with_keys("note: " + "[" * 60)),
    ("frontmatter-not-mapping", 2, "---\nname bread\ndescription Bakes bread.\n---\nKnead.\n"),
    ("duplicate-keys", 5, with_keys("version: 1\nversion: 2")),
    ("duplicate-keys", 6, with_keys("note: a: b\nversion: 1\nversion: 2")),
    ("key-case", 2, GOOD.replace("name", "Name")),
    ("merge-conflict", 4, with_keys("<<<<<<< ours\nversion: 1\n=======\n>>>>>>> theirs")),
    ("merge-conflict", 9, GOOD + "<<<<<<< ours\nx\n"),
    ("unparsed-value", 3, described("@bakery does it")),
    ("stray-text", 2, "---\nsome words\nname: bread\ndescription: Bakes bread.\n---\nKnead.\n"),
    ("no-name", 2, "---\ndescription: Bakes bread.\n---\nKnead.\n"),
    ("no-name", 2, named("")),
    ("name-not-string", 2, named("yes")),
    ("name-not-spec", 2, named("Bread_Maker")),
    ("name-not-spec", 2, named("bread--maker")),
    ("name-not-spec", 2, named("b" * 65)),
    ("name-mismatch", 2, named("rolls")),
    ("placeholder-name", 2, named("'{skill-name}'")),
    ("no-description", 2, "---\nname: bread\n---\nKnead.\n"),
    ("empty-description", 3, described('""')),
    ("description-not-string", 3, described("[bread, rolls]")),
    ("placeholder-description", 3, described("TODO write this")),
    ("placeholder-description", 3, described("'>-'")),
    ("placeholder-description", 3, described("[Brief description of what it does]")),
    ("description-too-long", 3, described("x" * 1025)),
    ("field-not-string", 4, with_keys("license: [MIT, ISC]")),
    ("compatibility-too-long", 4, with_keys("compatibility: " + "x" * 501)),
    ("empty-body", 5, "---\nname: bread\ndescription: Bakes bread.\n---\n"),
    ("oversize-body", 1508, GOOD + ("x" * 199 + "\n") * 1600),
    ("deep-markdown", 6, with_keys("note: x").replace("Knead", ">" * 40 + "Knead")),
]


@pytest.mark.parametrize(("code", "line", "text"), SAMPLES, ids=lambda value: str(value)[:24])
def test_an_oddity_is_named_with_its_line(code: str, line: int, text: str | bytes) -> None:
    assert lines_of(read(text)).get(code, "not named") == line


def test_every_code_has_a_sample() -> None:
    assert {code for code, _, _ in SAMPLES} == set(PROBLEMS)


def test_every_code_stands_in_the_docs_with_its_severity_and_no_other() -> None:
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (\w+) \|", DOCS.read_text("utf-8"), re.MULTILINE)
    assert dict(rows) == {code: str(severity) for code, severity in PROBLEMS.items()}


def test_the_table_of_codes_cannot_be_changed() -> None:
    assert isinstance(PROBLEMS, MappingProxyType)


def test_a_good_file_has_no_problem() -> None:
    draft = read(GOOD)
    assert draft.problems == ()
    assert (draft.name, draft.description_source) == ("bread", "frontmatter")
    assert draft.body == "# Bread\n\nKnead for ten minutes."


def test_one_code_is_listed_ten_times_at_most() -> None:
    draft = read(with_keys("\n".join(["version: 1"] * 50)))
    assert [problem.code for problem in draft.problems] == ["duplicate-keys"] * 10


@pytest.mark.parametrize(
    ("value", "description"),
    [
        ("Guides through: 1) mixing, 2) baking", "Guides through: 1) mixing, 2) baking"),
        ("@bakery bread", "@bakery bread"),
        ("* a star", "* a star"),
        ("{LOAF}'s own baker", "{LOAF}'s own baker"),
        ("!important bread", "!important bread"),
        ("&c. and so on", "&c. and so on"),
        ("% of water", "% of water"),
        ("[half open", "[half open"),
        ("| Bakes bread", "Bakes bread"),
        ("> Bakes bread", "Bakes bread"),
        ('"Bakes \\d loaves"', "Bakes \\d loaves"),
        ("\"Bakes the 'baker\\'s' loaf\"", "Bakes the 'baker's' loaf"),
        ('"Bakes bread', "Bakes bread"),
        ('"Bakes". Use for: loaves', 'Bakes". Use for: loaves'),
        ("Bakes: bread\nand rolls,\n  and more", "Bakes: bread and rolls, and more"),
        ("|\n  Bakes.\n\n  Uses: flour", "Bakes.\n\nUses: flour"),
        (">\n  Bakes\n  bread", "Bakes bread"),
        ("[bread, rolls]", "bread, rolls"),
        ("\n  - bread\n  - rolls", "bread, rolls"),
        ("2024-01-01", "2024-01-01"),
        ("42", "42"),
    ],
)
@pytest.mark.parametrize("broken", ["", "note: a: b\n"], ids=["alone", "beside a broken key"])
def test_a_description_is_recovered_whole(value: str, description: str, broken: str) -> None:
    text = described(value).replace("\ndescription", f"\n{broken}description")
    assert read(text).description == description


def test_keys_in_odd_forms_are_read_and_their_absence_named() -> None:
    bare = read("---\nname bread\ndescription Bakes.\n---\nKnead.\n", folder="rolls")
    heading = read("---\n\n## name: bread\ndescription: Bakes: all.\n---\nKnead.\n", folder="rolls")
    assert (bare.name, bare.description) == ("bread", "Bakes.")
    assert (heading.name, heading.description) == ("bread", "Bakes: all.")
    assert "no-name" in lines_of(bare).keys() & lines_of(heading).keys()


@pytest.mark.parametrize("value", ["yes", "8004", "1.50", "0x1F", "2024-01-01", "on"])
def test_a_name_that_yaml_does_not_read_as_text_is_taken_as_written(value: str) -> None:
    assert read(named(value), folder=value.lower()).name == value


def test_the_folder_gives_the_name_where_none_is_usable() -> None:
    for text in ("", "Knead.", named(""), named("null"), named("[skill-name]"), named("{{NAME}}")):
        assert read(text, folder="the-folder").name == "the-folder"
    assert read("", folder="\u200b").name == "unnamed"


def test_a_description_is_taken_from_the_body_where_it_is_missing() -> None:
    lead = "# Bread\n\n![b](i.png)\n\n| a | table of many things |\n\n"
    body = lead + "**Bakes** [good](u) `bread` all day long.\n"
    draft = read("---\nname: bread\n---\n" + body)
    assert draft.description == "Bakes good bread all day long."
    assert draft.description_source == "body"


def test_a_heading_is_the_last_resort_of_a_description() -> None:
    assert read("---\nname: bread\n---\n# Bread *baker*\n").description == "Bread baker"
    assert read("").description_source == "none"


def test_invisible_characters_leave_name_and_description_but_not_the_body() -> None:
    draft = read(GOOD.replace("bread", "b\u202eread\u200b").replace("Knead", "Kn\0\u202eead"))
    assert draft.name == "bread"
    assert draft.description == "Bakes bread. Use when the user wants a loaf."
    assert "Kn\u202eead" in draft.body


def test_joiners_of_emoji_and_persian_words_are_no_oddity() -> None:
    draft = read(described("Cooks for a \U0001f468\u200d\U0001f469 می\u200cخواهم"))
    assert draft.problems == ()
    assert "\u200d" in draft.description


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("gb18030", "烘焙面包，揉面十分钟。"),
        ("cp1252", "Für große Bäcker"),
        ("cp1250", "piekarz głosowych bułek"),
    ],
)
def test_text_in_an_old_encoding_is_read(encoding: str, words: str) -> None:
    assert read(described(words).encode(encoding)).description == words


def test_a_few_damaged_characters_do_not_change_the_encoding() -> None:
    data = described("烘焙面包，揉面十分钟。").encode().replace(b"Knead", b"Kn\xffead")
    assert read(data).description == "烘焙面包，揉面十分钟。"


def test_an_example_in_a_code_block_is_checked_but_not_used() -> None:
    draft = read(
        "# Guide\n\nHow to write one of these:\n\n```\n---\nname: 7\n---\n```\n", folder="guide"
    )
    assert draft.name == "guide"
    assert draft.frontmatter == {}
    assert lines_of(draft)["name-not-string"] == 7


def test_of_two_frontmatters_the_second_describes() -> None:
    draft = read("---\nname: bread\nlicense: MIT\ndescription: x\n---\n" + GOOD)
    assert draft.description == "Bakes bread. Use when the user wants a loaf."
    assert draft.licence == "MIT"
    assert draft.body.startswith("# Bread")


def test_the_body_of_an_indented_unclosed_file_is_set_back() -> None:
    draft = read(
        "---\nname: bread\ndescription: |\n  Bakes.\n    ---\n\n    # Bread\n\n    Knead.\n"
    )
    assert draft.description == "Bakes."
    assert [(section.heading, section.line) for section in draft.sections] == [("Bread", 7)]


def test_a_code_fence_in_the_body_does_not_close_frontmatter() -> None:
    draft = read("---\nname: bread\ndescription: Bakes.\n\n# Bread\n\n```\nx\n```\n")
    assert [block.text for block in draft.code_blocks] == ["x\n"]


def test_tags_are_lower_case_and_come_from_every_place() -> None:
    keys = (
        "tags: [Food, domain: Oven]\nkeywords: Loaf, dough\ncategory: Kitchen\nmetadata:\n  tags: x"
    )
    assert read(with_keys(keys)).tags == ("food", "oven", "loaf", "dough", "kitchen", "x")


@pytest.mark.parametrize(
    ("keys", "routable"),
    [
        ("disable-model-invocation: true", False),
        ('disable-model-invocation: "true"', False),
        ("internal: yes", False),
        ("metadata:\n  internal: true", False),
        ("disable-model-invocation: false", True),
        ("metadata: internal", True),
    ],
)
def test_hidden_skills_are_not_routable(keys: str, routable: bool) -> None:
    assert read(with_keys(keys)).routable is routable


@pytest.mark.parametrize(
    ("keys", "licence"),
    [("license: MIT", "MIT"), ("licence: ISC", "ISC"), ("License: MIT", "MIT"), ("license:", None)],
)
def test_the_licence_is_read_under_either_spelling(keys: str, licence: str | None) -> None:
    assert read(with_keys(keys)).licence == licence


def test_frontmatter_is_json_with_text_keys() -> None:
    keys = (
        "1: 2024-01-01\nyes: .inf\nratio: 0.5\nbig: 99999999999999999999\nnone: ~\ntime: 12:30:45"
    )
    draft = read(with_keys(keys))
    expected = {"1": "2024-01-01", "yes": ".inf", "ratio": 0.5, "none": None, "time": "12:30:45"}
    assert json.loads(json.dumps(draft.frontmatter)).items() >= expected.items()
    assert draft.frontmatter["big"] == "99999999999999999999"


def test_aliases_are_expanded_within_bounds() -> None:
    small = read(with_keys("base: &base [a, b]\ncopy: *base"))
    levels = "\n".join(f"l{i + 1}: &l{i + 1} [{', '.join([f'*l{i}'] * 9)}]" for i in range(9))
    bomb = read(with_keys(f"l0: &l0 [x]\n{levels}"))
    assert small.frontmatter["copy"] == ["a", "b"]
    assert "yaml-too-complex" in lines_of(bomb)
    assert len(json.dumps(bomb.frontmatter)) < 100_000


@pytest.mark.parametrize(
    "unit",
    [
        "> ",
        "- ",
        "[",
        "![a](",
        "*",
        "<",
        "<!--",
        "```\n",
        "---\n",
        "a: b\n",
        "当",
        "use this ",
        "\r",
    ],
)
def test_long_repetition_is_read(unit: str) -> None:
    text = unit * (20_000 // len(unit))
    assert read(text).name
    assert read(GOOD + text).name == "bread"
    assert read(with_keys("note: " + text)).name == "bread"
