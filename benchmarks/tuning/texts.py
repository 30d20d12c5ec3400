"""Texts of a skill that a trial embeds, in every way that was tried.

Each way is a list of texts, the routing text first; those behind it open with the skill's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from core import text
from core.text import passages, prose, routing_text, spoken_name
from core.types import SkillDraft

Pieces = Callable[[SkillDraft], list[str]]
"""The texts of a skill that are embedded, the routing text first."""

_SENTENCE = re.compile(r"(?<=[.!?。!?])\s+")


def packed(bodies: int, chars: int) -> Pieces:
    """Routing text and the first body passages, as the product forms them."""

    def pieces(draft: SkillDraft) -> list[str]:
        with _constants(chars, bodies):
            return [passage.text for passage in passages(draft)]

    return pieces


@contextmanager
def _constants(chars: int, bodies: int) -> Iterator[None]:
    before = text.PASSAGE_CHARS, text.BODY_PASSAGES
    text.PASSAGE_CHARS, text.BODY_PASSAGES = chars, bodies
    try:
        yield
    finally:
        text.PASSAGE_CHARS, text.BODY_PASSAGES = before


def routing(draft: SkillDraft) -> list[str]:
    """The routing text alone."""
    return [routing_text(draft)]


def untriggered(draft: SkillDraft) -> list[str]:
    """Name and description alone."""
    description = " ".join(draft.description.split())
    return [f"{spoken_name(draft.name)}\n{description[: text.ROUTING_CHARS]}"]


def unexcluded(draft: SkillDraft) -> list[str]:
    """Routing text without what the skill is not for; the first 600 of the body."""
    description = text.without_exclusions(draft.description)
    return packed(1, 600)(replace(draft, description=description))


def triggers(draft: SkillDraft) -> list[str]:
    """Routing text; every trigger."""
    return [routing_text(draft), *_named(draft, _triggers(draft))]


def triggers_then_body(draft: SkillDraft) -> list[str]:
    """Routing text; every trigger and the start of the body, 600 characters together."""
    said = _triggers(draft)
    start = " ".join(nameless(draft)[1:])[: max(600 - len(said), 0)]
    return [routing_text(draft), *_named(draft, f"{said}\n{start}".strip())]


def triggers_and_body(draft: SkillDraft) -> list[str]:
    """Routing text; every trigger; the first 600 characters of the body."""
    return [*triggers(draft), *packed(1, 600)(draft)[1:]]


def nameless(draft: SkillDraft) -> list[str]:
    """Routing text; the first 600 characters of the body without the name before them."""
    first, *body = packed(1, 600)(draft)
    return [first, *(piece.split("\n", 1)[1] for piece in body)]


def described(draft: SkillDraft) -> list[str]:
    """Routing text; name, the description's start and 400 characters of the body."""
    first, *body = packed(1, 400)(draft)
    start = " ".join(draft.description.split())[:160].rsplit(" ", 1)[0]
    return [first, *(piece.replace("\n", f"\n{start}\n", 1) for piece in body)]


def raw(draft: SkillDraft) -> list[str]:
    """Routing text; the first 600 characters of the body with code and markup."""
    return [routing_text(draft), *_named(draft, draft.body[:600].strip())]


def outline(draft: SkillDraft) -> list[str]:
    """Routing text; every heading with the first 60 characters below it, up to 600."""
    parts = []
    for section in draft.sections:
        below = prose(section.text[:1_600])[:60].rsplit(" ", 1)[0]
        parts.append(": ".join(part for part in (prose(section.heading), below) if part))
    return [routing_text(draft), *_named(draft, ". ".join(filter(None, parts))[:600])]


def leads(draft: SkillDraft) -> list[str]:
    """Routing text; every heading with the first sentence below it, up to 600 characters."""
    parts = []
    for section in draft.sections:
        first = _SENTENCE.split(prose(section.text[:2_000]), maxsplit=1)[0][:200]
        parts.append(". ".join(part for part in (prose(section.heading), first) if part))
    return [routing_text(draft), *_named(draft, " ".join(filter(None, parts))[:600])]


def _triggers(draft: SkillDraft) -> str:
    return "; ".join(draft.triggers)[:600]


def _named(draft: SkillDraft, said: str) -> list[str]:
    return [f"{spoken_name(draft.name)}\n{said}"] if said else []


OTHERS: dict[str, Pieces] = {
    "routing without triggers": untriggered,
    "routing without exclusions + 600": unexcluded,
    "routing; all triggers": triggers,
    "routing; all triggers + body to 600": triggers_then_body,
    "routing; all triggers; 600": triggers_and_body,
    "routing + headings with first sentences": leads,
    "routing + headings with first 60 characters": outline,
    "routing + 300": packed(1, 300),
    "routing + 600 with code and markup": raw,
    "routing + 600 without the name": nameless,
    "routing + 400 behind name and description": described,
}
