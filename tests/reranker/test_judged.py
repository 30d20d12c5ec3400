"""Judged lists: what is read of the file, what is left out, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.skill_format import parse
from reranker.learn.examples import (
    Source,
    TasksError,
    TrainingSkill,
    training_skill,
    with_queries,
)
from reranker.learn.judged import JUDGED_FILE, JudgedList, judged_lists, key
from tests.support import EXAMPLES

ASKED = "make my documents smaller"


@pytest.fixture(scope="module")
def skills() -> list[TrainingSkill]:
    files = sorted((EXAMPLES / "skills").rglob("SKILL.md"))[:8]
    found = [
        training_skill(
            f"owner/repo/{file.parent.name}",
            parse(file.read_bytes(), fallback_name=file.parent.name),
        )
        for file in files
    ]
    return [with_queries(found[0], {Source.REQUEST: [ASKED]}), *found[1:]]


def row(skills: list[TrainingSkill], *rows: int) -> dict[str, object]:
    places = [skills[n].place for n in rows]
    return {"asked": key(ASKED), "catalogue": "owner/repo", "skills": places, "right": 2}


def written(folder: Path, *rows: dict[str, object]) -> Path:
    file = folder / "judged.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_a_list_keeps_its_order(skills: list[TrainingSkill], tmp_path: Path) -> None:
    file = written(tmp_path, row(skills, 7, 3, 5))
    expected = JudgedList(text=ASKED, catalogue="owner/repo", rows=(7, 3, 5), right=2)
    assert judged_lists(skills, file) == [expected]


def test_a_list_of_other_questions_or_skills_is_left_out(
    skills: list[TrainingSkill], tmp_path: Path
) -> None:
    (description,) = skills[1].queries[Source.DESCRIPTION]
    known = row(skills, 1, 2, 3)
    places = [*(skill.place for skill in skills[:3]), "who/knows/where"]
    file = written(
        tmp_path,
        known | {"asked": key("what nobody asks")},
        known | {"asked": key(description)},  # what a skill says of itself is no question
        known | {"skills": places},
    )
    assert judged_lists(skills, file) == []


def test_a_line_that_cannot_be_read_is_named(skills: list[TrainingSkill], tmp_path: Path) -> None:
    good = row(skills, 1, 2)
    with pytest.raises(TasksError, match="line 2"):
        judged_lists(skills, written(tmp_path, good, good | {"right": "many"}))


def test_the_shipped_lists_are_whole() -> None:
    rows = [json.loads(line) for line in JUDGED_FILE.read_text().splitlines()]
    assert len(rows) == 7_600 == len({row["asked"] for row in rows})
    for found in rows:
        assert len(found["asked"]) == 16 and 0 <= found["right"] <= len(found["skills"])
        assert 4 <= len(set(found["skills"])) == len(found["skills"]) <= 8
        home = found["catalogue"]
        assert home is None or all(place.startswith(home) for place in found["skills"])
