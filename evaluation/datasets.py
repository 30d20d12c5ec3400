"""Datasets of the development folder, as queries, trigger pairs and skills.

Every row is data written by strangers: it is read, counted and ranked, never obeyed.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.errors import LoadstarError
from evaluation.language import language_of
from evaluation.split import Assignment, Row, Ties, assign
from evaluation.types import Place, Query, Split, TriggerPair, catalogue_of

SKILLS_FILE = "skills.jsonl.xz"
METATOOL = "HowieHwong/MetaTool"

UNASSIGNED = Split.TEST
"""The split of a row until `assign` has seen it: what is never learned from."""


class DatasetError(LoadstarError):
    """A row of an evaluation file cannot be used; the text names file and line."""

    code = "dataset_invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillRow:
    """A skill of the dump without its body, which `read_bodies` gives."""

    place: Place
    licence: str | None
    near_group: str | None  # shared by near-duplicates
    truncated: bool  # its body is cut in the dump
    language: str
    name: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRow:
    """A tool of the MetaTool sets, which is no skill but is chosen like one."""

    place: Place
    name: str
    description: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """Every labelled row of the folder, each with its split."""

    queries: tuple[Query, ...]
    pairs: tuple[TriggerPair, ...]
    assignment: Assignment

    @property
    def rows(self) -> tuple[Row, ...]:
        """Queries and pairs together."""
        return (*self.queries, *self.pairs)

    @property
    def sources(self) -> Mapping[str, str]:
        """The set that each qid comes from."""
        return {query.qid: query.source for query in self.queries} | {
            pair.qid: "trigger-evals" for pair in self.pairs
        }


Skills = Mapping[Place, SkillRow]


def read_labelled(folder: Path, skills: Skills) -> Labelled:
    """Read every labelled file of the folder and assign its rows to their splits."""
    routing = read_routing_queries(folder, skills)
    queries = [
        *routing,
        *read_skill_prompts(folder, skills),
        *read_metatool_awareness(folder),
        *read_metatool_reliability(folder),
    ]
    pairs = read_trigger_evals(folder, skills)
    assignment = assign([*queries, *pairs], ties_of(skills, routing))
    return Labelled(
        queries=tuple(replace(row, split=assignment.by_qid[row.qid]) for row in queries),
        pairs=tuple(replace(row, split=assignment.by_qid[row.qid]) for row in pairs),
        assignment=assignment,
    )


def ties_of(skills: Skills, labelled: Sequence[Query]) -> Ties:
    """Twins of the dump, and the repositories that hold a set of `labelled` whole."""
    holders = {query.catalogue for query in labelled if query.catalogue}
    return Ties(twins=twins_of(skills), split_inside=frozenset(holders | {METATOOL}))


def twins_of(skills: Skills) -> Mapping[Place, str]:
    """The near_group of every skill that has one."""
    return {row.place: row.near_group for row in skills.values() if row.near_group}


def read_skills(folder: Path) -> dict[Place, SkillRow]:
    """Every skill of the dump by place, without bodies; some 15 s for 82,803."""
    return {
        raw["id"]: SkillRow(
            place=raw["id"],
            licence=raw["license"],
            near_group=raw["near_group"],
            truncated=raw["truncated"],
            language=raw["lang"],
            name=raw["name"],
            description=raw["description"] or "",
        )
        for raw in _dump(folder)
    }


def read_bodies(
    folder: Path, places: Collection[Place] | None = None
) -> Iterator[tuple[Place, str]]:
    """Bodies of these skills, or of all, in the dump's order; cut at 3,600 characters there."""
    for raw in _dump(folder):
        if places is None or raw["id"] in places:
            yield raw["id"], raw["body"]


def read_routing_queries(folder: Path, skills: Skills) -> list[Query]:
    """Queries by the skills' own authors; `relevant` is empty for a negative."""
    return [
        Query(
            qid=raw["qid"],
            text=raw["text"],
            relevant=tuple(raw["relevant"]),
            catalogue=raw["catalogue"],
            source=raw["set"],
            split=UNASSIGNED,
            names_skill=raw["names_skill"],
            truncated=_truncated(raw["relevant"], skills),
            weak_negative=raw["set"] == "nvidia-none",
            language=language_of(raw["text"]),
        )
        for raw in _rows(folder / "routing_queries.jsonl")
    ]


def read_skill_prompts(folder: Path, skills: Skills) -> list[Query]:
    """Prompts found beside a skill; weak positives where no author named the expected skill."""
    return [
        Query(
            qid=f"prompt-{number:04d}",
            text=raw["prompt"],
            relevant=(raw["skill_id"],),
            catalogue=catalogue_of(raw["skill_id"]),
            source="skill-prompts-labelled" if raw["labelled"] else "skill-prompts",
            split=UNASSIGNED,
            names_skill=raw["names_skill"],
            truncated=_truncated([raw["skill_id"]], skills),
            weak_positive=not raw["labelled"],
            language=language_of(raw["prompt"]),
        )
        for number, raw in enumerate(_rows(folder / "skill_prompts.jsonl"), start=1)
    ]


def read_trigger_evals(folder: Path, skills: Skills) -> list[TriggerPair]:
    """Load or no-load for one skill, with near misses."""
    return [
        TriggerPair(
            qid=f"trigger-{number:04d}",
            text=raw["query"],
            place=raw["skill_id"],
            should_load=raw["should_load"],
            split=UNASSIGNED,
            names_skill=raw["names_skill"],
            truncated=_truncated([raw["skill_id"]], skills),
            language=language_of(raw["query"]),
        )
        for number, raw in enumerate(_rows(folder / "trigger_evals.jsonl"), start=1)
    ]


def read_metatool_awareness(folder: Path) -> list[Query]:
    """Requests that need some tool, with that tool, and requests that need none."""
    return [
        Query(
            qid=raw["qid"],
            text=raw["text"],
            relevant=_tools(raw["relevant"]),
            catalogue=METATOOL,
            source="metatool-awareness",
            split=UNASSIGNED,
            language=language_of(raw["text"]),
        )
        for raw in _rows(folder / "metatool_awareness.jsonl")
    ]


def read_metatool_reliability(folder: Path) -> list[Query]:
    """Requests whose right tool is not among the candidates: the right answer is none."""
    return [
        Query(
            qid=raw["qid"],
            text=raw["text"],
            relevant=(),
            catalogue=METATOOL,
            source="metatool-reliability",
            split=UNASSIGNED,
            language=language_of(raw["text"]),
            candidates=_tools(raw["candidates"]),
            withheld=_tools([raw["withheld_tool"]]),
        )
        for raw in _rows(folder / "metatool_reliability.jsonl")
    ]


def read_metatool_tools(folder: Path) -> list[ToolRow]:
    """The tools that both MetaTool sets speak of."""
    return [
        ToolRow(
            place=_tools([raw["id"]])[0],
            name=raw["name"],
            description=raw["description"],
            body=raw["body"],
        )
        for raw in _rows(folder / "metatool_tools.jsonl")
    ]


def _tools(names: Sequence[str]) -> tuple[Place, ...]:
    return tuple(f"{METATOOL}/{name}" for name in names)


def _truncated(places: Sequence[Place], skills: Skills) -> bool:
    return any(skills[place].truncated for place in places)


def _dump(folder: Path) -> Iterator[dict[str, Any]]:
    with lzma.open(folder / SKILLS_FILE, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)
