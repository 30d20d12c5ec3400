"""Lists that readers put in order: our first stage's best skills for a question, the best first.

A question is one that a skill to train on was written or labelled for. Nearly every second list
holds a skill that serves its question and that it was not written for: taken for wrong, as mining
does, those teach a reranker what is not so (docs/decisions/0014).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from reranker.learn.examples import PEOPLE, TasksError, TrainingSkill

JUDGED_FILE = Path(__file__).with_name("judged.jsonl")


class JudgedRow(BaseModel):
    """A line of JUDGED_FILE."""

    model_config = ConfigDict(extra="forbid")

    asked: str  # the question's key
    catalogue: str | None  # that it was asked within
    skills: tuple[str, ...]  # places, the best first
    right: int  # how many of them serve it


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedList:
    """A question and rows of skills, the best first; the first `right` of them serve it."""

    text: str
    catalogue: str | None
    rows: tuple[int, ...]
    right: int


def key(text: str) -> str:
    """What JUDGED_FILE calls a question: the texts of some may not be passed on."""
    return sha256(text.encode()).hexdigest()[:16]


def judged_lists(skills: Sequence[TrainingSkill], file: Path = JUDGED_FILE) -> list[JudgedList]:
    """The lists whose question and skills are all among these.

    Raises TasksError, naming the line, where one cannot be read.
    """
    rows = {skill.place: row for row, skill in enumerate(skills)}
    texts = {key(text): text for skill in skills for text in _asked(skill)}
    found = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = JudgedRow.model_validate_json(line)
        except ValidationError as error:
            raise TasksError(f"{file.name}, line {number}: {error}") from error
        if row.asked in texts and rows.keys() >= set(row.skills):
            found.append(
                JudgedList(
                    text=texts[row.asked],
                    catalogue=row.catalogue,
                    rows=tuple(rows[place] for place in row.skills),
                    right=row.right,
                )
            )
    return found


def _asked(skill: TrainingSkill) -> list[str]:
    return [text for source in PEOPLE for text in skill.queries.get(source, ())]
