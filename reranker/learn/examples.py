"""Training examples of the encoder: which text should find which skill, and what to hide of it.

A skill teaches by its own words: its description, its triggers, its later sections and the
requests that it quotes each find its passages, from which they and its name are taken out. Tasks
and prompts that people wrote for it join them. Every text passes through `core.text`, as it will
when it is indexed.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from core.errors import LoadstarError, SettingsError
from core.text import passages, prose, spoken_name, without_exclusions
from core.types import PassageKind, SkillDraft
from reranker.pairs import Document, document_of

TASKS_FILES = (
    Path(__file__).with_name("tasks.jsonl"),  # each long task with two short requests
    Path(__file__).with_name("requests.jsonl"),  # three short requests for each of many skills
    Path(__file__).with_name("bundles.jsonl"),  # a long task each, most of them for several skills
)

SHORTEST, LONGEST = 20, 600  # characters of a query that a skill's own text gives
SECTIONS = 4  # of one skill at most
MOST_OWNERS = 5  # skills that one query may speak for
REQUESTS = 8  # that one skill quotes, at most

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])")
_QUOTED = re.compile(r"[\"“「]([^\"“”「」\n]{12,200})[\"”」]")
_ASKED = re.compile(
    r"^[\s>*-]*(?:\*\*)?(?:user|human|prompt|request|query|example|用户|ユーザー)"
    r"(?:\s+(?:says?|asks?|request|prompt|query))?(?:\*\*)?\s*[:：]\s*(?:\*\*)?\s*(.{12,200})$",
    re.IGNORECASE | re.MULTILINE,
)


class Source(StrEnum):
    """Where a query comes from."""

    DESCRIPTION = "description"
    TRIGGER = "trigger"
    SECTION = "section"
    QUOTED = "quoted"  # an example request inside the skill
    PROMPT = "prompt"  # a labelled or weak prompt
    TASK = "task"  # a long task description
    REQUEST = "request"  # a short one, written with it


OWN = frozenset({Source.DESCRIPTION, Source.TRIGGER, Source.SECTION, Source.QUOTED})
"""Sources within the skill itself: what they say must be taken out of its passages."""

PEOPLE = frozenset(Source) - OWN
"""Sources that were written to be asked."""


def sources_without(names: Iterable[str]) -> tuple[Source, ...]:
    """Every source but these. Raises SettingsError for a name that is none."""
    known = {source.value for source in Source}
    if unknown := set(names) - known:
        raise SettingsError(
            f"There is no source {', '.join(sorted(unknown))}. There are: "
            f"{', '.join(sorted(known))}."
        )
    return tuple(source for source in Source if source not in set(names))


NO_DOCUMENT = Document(name="", description="", body="")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSkill:
    """A skill with the passages it is found by and the queries that should find it."""

    place: str
    name: str
    passages: Mapping[PassageKind, str]
    queries: Mapping[Source, tuple[str, ...]] = field(default_factory=dict)
    twins: str | None = None  # shared with its near-duplicates
    document: Document = NO_DOCUMENT

    @property
    def routing(self) -> str:
        """Its routing passage, which every skill has."""
        return self.passages[PassageKind.ROUTING]


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenTask:
    """A row of TASKS_FILES: a task that people wrote, and every skill that it needs."""

    qid: str
    text: str
    skills: tuple[str, ...]
    language: str
    long: bool  # a task of 60 to 300 words, else a request of one sentence


class TasksError(LoadstarError):
    """A row of the task file cannot be read."""

    code = "tasks_unreadable"


def training_skill(place: str, draft: SkillDraft, twins: str | None = None) -> TrainingSkill:
    """The skill with the queries that its own text gives."""
    formed = {passage.kind: passage.text for passage in reversed(passages(draft))}
    queries = {
        Source.DESCRIPTION: _description(draft),
        Source.TRIGGER: tuple(t for t in map(prose, draft.triggers) if _fit(t)),
        Source.SECTION: tuple(_later_sections(draft, formed.get(PassageKind.BODY, ""))),
        Source.QUOTED: tuple(_quoted(draft.body)),
    }
    return TrainingSkill(
        place=place,
        name=draft.name,
        passages=formed,
        queries={source: found for source, found in queries.items() if found},
        twins=twins,
        document=document_of(draft.name, draft.description, draft.body),
    )


def masked(text: str, name: str, said: Iterable[str] = ()) -> str:
    """The text without the skill's name and without what `said` quotes of it, on any spacing."""
    for part in (*said, spoken_name(name), name):
        if words := part.split():
            pattern = r"\s+".join(map(re.escape, words))
            text = re.sub(rf"(?<!\w){pattern}(?!\w)", " ", text, flags=re.IGNORECASE)
    return "\n".join(" ".join(line.split()) for line in text.split("\n") if line.strip())


def sentences(text: str) -> list[str]:
    """The sentences of a query, to be taken out of a passage one by one: neither need be whole."""
    return [part for part in _SENTENCE_END.split(text) if part]


def read_tasks(files: Iterable[Path] = TASKS_FILES) -> list[WrittenTask]:
    """The written tasks. Raises TasksError, naming the line, where a row cannot be read."""
    tasks = []
    for file in files:
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                row = json.loads(line)
                tasks.append(WrittenTask(**row | {"skills": tuple(row["skills"])}))
            except (ValueError, TypeError, KeyError) as error:
                raise TasksError(f"{file.name}, line {number}: {error}") from error
    return tasks


def _fit(text: str) -> bool:
    return SHORTEST <= len(text) <= LONGEST


def _description(draft: SkillDraft) -> tuple[str, ...]:
    text = " ".join(without_exclusions(draft.description).split())[:LONGEST]
    return (text,) if _fit(text) else ()


def _later_sections(draft: SkillDraft, first_passage: str) -> Iterator[str]:
    """Sections whose text is not in the body passage, cut at LONGEST."""
    found = 0
    for section in draft.sections:
        text = prose(section.text)
        if _fit(text[:LONGEST]) and text[:SHORTEST] not in first_passage:
            yield f"{prose(section.heading)}. {text}"[:LONGEST]
            found += 1
            if found == SECTIONS:
                return


def _quoted(body: str) -> list[str]:
    """Requests that a body quotes: what follows `User:` and the like, and quotes of a sentence."""
    asked = [prose(text).strip('"“”「」 ') for text in _ASKED.findall(body)]
    quotes = [text for text in _QUOTED.findall(body) if _reads_as_request(text)]
    found = dict.fromkeys(text for text in map(prose, (*asked, *quotes)) if _fit(text))
    return list(found)[:REQUESTS]


def _reads_as_request(text: str) -> bool:
    """Four words or more and no code: most other quotes are values and messages."""
    return len(text.split()) >= 4 and not re.search(r"[{}<>$=\\|;]|\w\.\w+\(", text)


def with_queries(skill: TrainingSkill, texts: Mapping[Source, Sequence[str]]) -> TrainingSkill:
    """The skill with further queries."""
    joined = {source: (*skill.queries.get(source, ()), *found) for source, found in texts.items()}
    return replace(skill, queries={**skill.queries, **joined})


def without_boilerplate(skills: Sequence[TrainingSkill]) -> list[TrainingSkill]:
    """The skills without queries that more than MOST_OWNERS hold; those without any are left out.

    One collection's headers and notes stand in hundreds of its skills, and tell none apart.
    """
    owners = Counter(
        text for skill in skills for text in {t for texts in skill.queries.values() for t in texts}
    )
    kept = []
    for skill in skills:
        telling = {
            source: tuple(text for text in texts if owners[text] <= MOST_OWNERS)
            for source, texts in skill.queries.items()
        }
        if queries := {source: texts for source, texts in telling.items() if texts}:
            kept.append(replace(skill, queries=queries))
    return kept
