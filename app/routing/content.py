"""Content of a skill at each level, as it is sent, and the section that fits a task; pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from app.routing.contract import Level
from core.retrieval.lexical import analyse
from core.skill_format import sections_of
from core.types import Section, SkillVersion
from reranker.pairs import holds_most

CountTokens = Callable[[Sequence[str]], list[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A text of a skill as it is sent, and what it costs."""

    level: Level
    text: str
    tokens: int
    section: str | None = None  # heading of the section that it is

    @property
    def sha256(self) -> str:
        """Hex digest of the UTF-8 text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def contents(
    versions: Sequence[SkillVersion], include: str, task: str, count_tokens: CountTokens
) -> dict[int, Content]:
    """What each version sends at the level `include`, by row."""
    chosen = [_chosen(version, include, task) for version in versions]
    counts = count_tokens([text for _, _, text in chosen])
    return {
        version.row: Content(level=level, text=text, tokens=tokens, section=section)
        for version, (level, section, text), tokens in zip(versions, chosen, counts, strict=True)
    }


def cost(version: SkillVersion, sent: Mapping[int, Content]) -> int:
    """Tokens that the version takes: of what is sent, by row, else of the body to be loaded."""
    content = sent.get(version.row)
    return version.tokens.body if content is None else content.tokens


def routing(version: SkillVersion) -> str:
    """Name and description: what an agent reads to choose."""
    return f"{version.name}\n{version.description}"


def chapter(sections: Sequence[Section], place: int) -> str:
    """The section there as Markdown, its heading first, with the sub-sections under it."""
    top, following = sections[place], range(place + 1, len(sections))
    below = takewhile(lambda other: sections[other].level > top.level, following)
    parts = [top, *(sections[other] for other in below)] if top.level else [top]
    return "\n\n".join(text for part in parts for text in (_heading(part), part.text) if text)


def called(sections: Sequence[Section], heading: str) -> int | None:
    """The place of the first section with this heading, else of the first with one like it.

    Headings are alike that differ in case and spaces alone.
    """
    headings = [section.heading for section in sections]
    if heading in headings:
        return headings.index(heading)
    alike = [_loosely(each) for each in headings]
    return alike.index(_loosely(heading)) if _loosely(heading) in alike else None


def fitting(sections: Sequence[Section], task: str) -> int | None:
    """The place of the section that holds most of the task's words; None where none holds any.

    A heading above all others is the title, whose chapter is the whole body: it does not count.
    """
    words, title = frozenset(analyse(task)), _title(sections)
    places = [place for place in range(len(sections)) if place != title]
    held = [frozenset(analyse(_words_of(sections[place]))) for place in places]
    if not any(words & each for each in held):
        return None
    return places[holds_most(words, held)]


def _chosen(version: SkillVersion, include: str, task: str) -> tuple[Level, str | None, str]:
    """Level, heading where the text is a section, and text."""
    match include:
        case "section":
            return _section(version, task)
        case "body":
            return "body", None, version.body
        case _:
            return "routing", None, routing(version)


def _section(version: SkillVersion, task: str) -> tuple[Level, str | None, str]:
    sections = sections_of(version.body)
    place = fitting(sections, task)
    if place is None:
        return "routing", None, routing(version)
    return "section", sections[place].heading, chapter(sections, place)


def _title(sections: Sequence[Section]) -> int | None:
    """The place of the first heading, where all others stand below it and there are others."""
    headed = [place for place, section in enumerate(sections) if section.level]
    levels = [sections[place].level for place in headed]
    return headed[0] if levels[1:] and levels[0] < min(levels[1:]) else None


def _heading(section: Section) -> str:
    return f"{'#' * section.level} {section.heading}".strip()


def _words_of(section: Section) -> str:
    return f"{section.heading}\n{section.text}"


def _loosely(heading: str) -> str:
    return " ".join(heading.casefold().split())
