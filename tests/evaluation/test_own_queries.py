"""An operator's own file: what it may hold, and how a bad row is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.types import skill_id
from evaluation.datasets import DatasetError
from evaluation.own_queries import read_own_queries
from evaluation.types import Query
from tests.evaluation.rows import write_lines

DEPLOY, LINT = "acme/skills/ops/deploy", "acme/skills/lint"
PLACES = (DEPLOY, LINT, "else/where/x")


def read(tmp_path: Path, *rows: object) -> list[Query]:
    return read_own_queries(write_lines(tmp_path / "mine.jsonl", rows), PLACES)


def test_a_place_an_id_a_list_and_null_are_understood(tmp_path: Path) -> None:
    queries = read(
        tmp_path,
        {"query": "one", "expected": DEPLOY},
        {"query": "two", "expected": skill_id("acme/skills", "ops/deploy")},
        {"query": "three", "expected": [DEPLOY, LINT, DEPLOY]},
        {"query": "four", "expected": None},
    )
    assert [query.relevant for query in queries] == [(DEPLOY,), (DEPLOY,), (DEPLOY, LINT), ()]
    assert [query.catalogue for query in queries] == ["acme/skills"] * 3 + [None]
    assert {query.source for query in queries} == {"mine"}


def test_skills_of_two_catalogues_are_scored_over_the_pool_only(tmp_path: Path) -> None:
    (query,) = read(tmp_path, {"query": "both", "expected": [DEPLOY, "else/where/x"]})
    assert query.catalogue is None


def test_a_row_keeps_its_qid_while_the_file_grows(tmp_path: Path) -> None:
    row = {"query": "same", "expected": None}
    (before,) = read(tmp_path, row)
    assert before in read(tmp_path, {"query": "new", "expected": LINT}, row)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"expected": LINT}, "query must be a text"),
        ({"query": "  ", "expected": LINT}, "query must be a text"),
        ({"query": 3, "expected": LINT}, "query must be a text"),
        ({"query": "x"}, "expected is missing; write null"),
        ({"query": "x", "expected": []}, "expected is empty; write null"),
        ({"query": "x", "expected": 7}, "a skill, a list of skills, or null"),
        ({"query": "x", "expected": [LINT, None]}, "a skill, a list of skills, or null"),
        ({"query": "x", "expected": "lint"}, "no skill 'lint' here"),
        ({"query": "x", "expected": "skl_0"}, "no skill 'skl_0' here"),
        (["x", LINT], "a row is an object"),
        ({"query": "fine", "expected": None}, "stands in the file twice"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(tmp_path: Path, row: object, said: str) -> None:
    with pytest.raises(DatasetError) as caught:
        read(tmp_path, {"query": "fine", "expected": None}, row)
    assert caught.value.detail.startswith(f"{tmp_path / 'mine.jsonl'}, line 2: ")
    assert said in caught.value.detail


def test_blank_lines_a_byte_order_mark_and_odd_separators_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    text = json.dumps({"query": "a\u2028b", "expected": None}, ensure_ascii=False)
    path.write_text(f"\n{text}\r\n\n", encoding="utf-8-sig")
    assert [query.text for query in read_own_queries(path, PLACES)] == ["a\u2028b"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"query": "x"\n', "line 1: not JSON"),
        (b"\n", "no rows"),
        (b'{"query": "\xff"}', "is not UTF-8, at byte 11"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=said):
        read_own_queries(path, PLACES)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"gone\.jsonl: cannot be read"):
        read_own_queries(tmp_path / "gone.jsonl", PLACES)
