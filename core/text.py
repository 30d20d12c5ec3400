"""A skill's passages and a task's query text, formed in one pure place.

Ingestion, queries and training all call this module, so that they can never drift apart;
whatever changes a passage's text must change PASSAGE_FORMAT too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice

from core.types import Passage, PassageKind, Section, SkillDraft

PASSAGE_FORMAT = "p1"

# About 115 tokens of English. With one routing passage and one body passage a skill costs the
# embedder about 190 tokens, so that 82,803 skills take 16 M tokens: 20 minutes on two cores.
PASSAGE_CHARS = 600
BODY_PASSAGES = 1
SMALLEST_ROOM = 40  # a shorter piece of the next section would cut words for nothing
ROUTING_CHARS = 1_000
TRIGGER_CHARS = 300

_FENCE = re.compile(r"^(```|~~~)", re.MULTILINE)
_LINK = re.compile(r"!?\[([^\]\n]{0,300})\]\([^)\n]{0,2000}\)")
_URL = re.compile(r"https?://\S+")
_TAG = re.compile(r"<[^<>\n]{0,500}>")
_MARKUP = re.compile(r"[#*`|>_~=]+|(?<!\w)-+|-{2,}")
_SPACE = re.compile(r"\s+")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")
_EXCLUSION = re.compile(
    r"(?:\bnot\b(?:\s+(?!only|just|limited)\w{1,20})?[\s:*]+"
    r"(?:use|using|when|for|if|trigger|invoke|activate|apply)\b"
    r"|不适用|不適用|不要使用|不使用|请勿|\bFor\b[^→]{1,200}→).*",
    re.IGNORECASE | re.DOTALL,
)


def spoken_name(name: str) -> str:
    """A name as words: `pdf-form_filling` reads `pdf form filling`."""
    return _SPACE.sub(" ", re.sub(r"[-_/.]+", " ", name)).strip()


def without_exclusions(description: str) -> str:
    """The description without what the skill is not for ("NOT for X", "For Y→other-skill").

    Each such statement is cut up to the end of its sentence: its words speak for other skills.
    """
    kept = (_EXCLUSION.sub("", sentence) for sentence in _SENTENCE_END.split(description))
    return " ".join(sentence for sentence in kept if sentence)


def prose(markdown: str) -> str:
    """Markdown without code blocks, link targets and markup, on one line."""
    outside_code = _FENCE.split(markdown)[::4]
    text = _LINK.sub(r"\1", "\n".join(outside_code))
    for noise in (_URL, _TAG, _MARKUP):
        text = noise.sub(" ", text)
    return _SPACE.sub(" ", text).strip()


def routing_text(draft: SkillDraft) -> str:
    """What a listing would show of the skill: name, description, and triggers not yet said."""
    description = _SPACE.sub(" ", draft.description).strip()
    unsaid = [trigger for trigger in draft.triggers if trigger not in description]
    lines = [spoken_name(draft.name), description[:ROUTING_CHARS]]
    if unsaid:
        lines.append("; ".join(unsaid)[:TRIGGER_CHARS])
    return "\n".join(line for line in lines if line)


def passages(draft: SkillDraft) -> tuple[Passage, ...]:
    """The routing passage and the first body passages, each opening with the skill's name."""
    routing = Passage(kind=PassageKind.ROUTING, section="", line=1, text=routing_text(draft))
    body = [
        Passage(
            kind=PassageKind.BODY,
            section=section,
            line=line,
            text=f"{spoken_name(draft.name)}\n{text}",
        )
        for section, line, text in islice(_packed(draft.sections), BODY_PASSAGES)
    ]
    return (routing, *body)


def _packed(sections: Sequence[Section]) -> Iterator[tuple[str, int, str]]:
    """Consecutive sections joined up to PASSAGE_CHARS, longer ones cut at a word."""
    heading, line, packed = "", 1, ""
    for section in sections:
        text = ". ".join(part for part in (prose(section.heading), prose(section.text)) if part)
        while text:
            if not packed:
                heading, line = section.heading, section.line
            room = PASSAGE_CHARS - len(packed)
            piece = _cut(text, room)
            packed = f"{packed} {piece}".strip()
            text = text[len(piece) :].strip()
            if text or len(packed) > PASSAGE_CHARS - SMALLEST_ROOM:
                yield heading, line, packed
                packed = ""
    if packed:
        yield heading, line, packed


def _cut(text: str, room: int) -> str:
    """The longest start of `text` within `room` characters that ends a word, if any does."""
    if len(text) <= room:
        return text
    space = text.rfind(" ", 0, room + 1)
    return text[: space if space > room // 2 else max(room, 1)]


def readable(data: bytes) -> str | None:
    """The text of a file that a reader could load; None for a binary one."""
    try:
        return None if b"\0" in data else data.decode()
    except UnicodeDecodeError:
        return None


def query_text(task: str, recent: Sequence[str] = ()) -> str:
    """What the arms search for: the task, then the caller's recent messages, newest first."""
    return "\n".join([task.strip(), *(message.strip() for message in reversed(recent))])
