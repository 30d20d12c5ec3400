"""Whatever bytes come, a SKILL.md is read: no exception, a name, sane lines, no control."""

from __future__ import annotations

import json
import re
import unicodedata

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.skill_format import PROBLEMS, parse
from core.types import SkillDraft

FILE = b"""---
name: fold-letters
description: >-
  Folds letters and stuffs envelopes. Use when the user has
  post to send: invoices, cards, "notes".
license: MIT
tags: [paper, post]
metadata:
  author: "A. Writer"
  triggers:
    keywords: [fold, stuff]
base: &base {a: 1}
copy: *base
---

# Fold letters

> Mind your fingers.

## When to use

- Post is **due**
  1. today
- Not for parcels

```bash
fold --thirds *.txt
```
"""

# What has broken real files, and what breaks parsers.
FRAGMENTS = (  # noqa: SIM905 - sixty quoted words on sixty lines read worse
    "---\n·--- ·----\n·—--\n·...\n·```\n·~~~yaml\n·<!--·-->·: ·@·* ·*x ·&x ·!x ·[·{{·}·]·%·|\n·> "
    "·#·? ·\"·'·\\·\\x00·\\ud83d·\t·\r·\r\n·\n·\n\n·        ·- - - - ·\0·\a·\x7f·\x85·\u2028·\u202e"
    "·\u200b·\ufeff·\U000e0041·<<<<<<< a\n·=======\n·name·name: ·description: ·Name:\n·<<: ·TODO"
    "·&nbsp;·当用户时·[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[·>>>>>>>>>>>>>>>>>>>>>>>>>>>>>>"
).split("·")
FRAGMENT = st.sampled_from([b"\xff", b"\xff\xfe", *(text.encode() for text in FRAGMENTS)])
FUZZ = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """The file above with fragments put in, pieces cut out, lines swapped, its end lost."""
    data = FILE
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(data)))
        change = draw(st.sampled_from(["insert", "cut", "swap", "end", "encode"]))
        if change == "insert":
            data = data[:at] + draw(FRAGMENT) + data[at:]
        elif change == "cut":
            data = data[:at] + data[at + draw(st.integers(1, 40)) :]
        elif change == "swap":
            lines = data.split(b"\n")
            i, j = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
            lines[i], lines[j] = lines[j], lines[i]
            data = b"\n".join(lines)
        elif change == "end":
            data = data[:at]
        else:
            data = data.decode("utf-8", "replace").encode(
                draw(st.sampled_from(["utf-16", "gb18030"]))
            )
    return data


def assert_sane(data: bytes, draft: SkillDraft) -> None:
    assert draft.name
    assert draft.name == " ".join(draft.name.split())
    for text in (draft.name, draft.description, *draft.triggers, *draft.tags):
        assert not [c for c in text if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t"]
        assert not set(text) & set("\u200b\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
    assert bool(draft.description) == (draft.description_source != "none")
    last_line = len(re.findall(rb"\r|\n", data)) + 1
    lines = [problem.line for problem in draft.problems]
    lines += [section.line for section in draft.sections]
    lines += [block.line for block in draft.code_blocks]
    assert all(line is not None and 1 <= line <= last_line for line in lines)
    assert {problem.code for problem in draft.problems} <= set(PROBLEMS)
    assert "\0" not in draft.body
    assert json.loads(json.dumps(draft.frontmatter)) == draft.frontmatter
    json.dumps(draft.frontmatter, ensure_ascii=False).encode()
    draft.body.encode()


@FUZZ
@given(st.binary(max_size=600))
def test_any_bytes_are_read(data: bytes) -> None:
    assert_sane(data, parse(data, fallback_name="folder"))


@FUZZ
@given(st.text(alphabet="-`~#>*:|&![]{}\"'\\ \n\t\x00abn名—\u202e", max_size=200))
def test_any_markup_behind_a_fence_is_read(text: str) -> None:
    data = ("---\nname: " + text).encode()
    assert_sane(data, parse(data, fallback_name="folder"))


@FUZZ
@given(mutated())
def test_a_damaged_file_is_read(data: bytes) -> None:
    assert_sane(data, parse(data, fallback_name="folder"))


@FUZZ
@given(st.one_of(st.binary(max_size=200), mutated()), st.text(max_size=20))
def test_the_same_bytes_give_the_same_draft(data: bytes, folder: str) -> None:
    assert parse(data, fallback_name=folder) == parse(data, fallback_name=folder)


@FUZZ
@given(st.integers(0, len(FILE)))
def test_a_file_cut_anywhere_keeps_the_name_it_still_holds(end: int) -> None:
    draft = parse(FILE[:end], fallback_name="folder")
    assert_sane(FILE[:end], draft)
    next_key = FILE.index(b" >-")
    assert draft.name == "fold-letters" or end < next_key


@FUZZ
@given(st.text(max_size=60))
def test_a_folder_of_any_name_gives_a_name(folder: str) -> None:
    assert_sane(b"", parse(b"", fallback_name=folder))
