"""Triggers of a skill: the sentences and list items that say when to use it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from core.skillmd.body import NOT_WHEN, plain
from core.skillmd.decoding import visible

MOST_TRIGGERS = 20
TRIGGER_CHARS = 300
_READ_CHARS = 20_000  # of one text: far more than twenty triggers

_KEYS = ("triggers", "trigger", "when_to_use", "when-to-use", "trigger_phrases")
_SENTENCE_END = re.compile(r"(?<!\be\.g\.)(?<!\bi\.e\.)(?<=[.!?])\s+|(?<=[。！？])|\n+")
_WHEN = re.compile(
    r"\b(?:used?|useful|invoked?|activated?s?|apply|load|call|trigger(?:s|ed)?)\b"
    r"(?:\s+(?:this|the|it|me|skill|also|only|proactively|automatically|immediately|should|be"
    r"|is|used)\b){0,6}[\s:,]+(?:when|whenever|if|for|on|with|before|after|to|by)\b"
    r"|\b(?:triggers?|trigger\s+(?:phrases|words|keywords|terms))(?:\s+include)?\s*:"
    r"|^\W*when(?:ever)?\b"
    r"|当.{1,120}时|當.{1,120}時|使用场景|适用于|适用场景|触发|用于|とき|際に|場合に|に使用",
    re.IGNORECASE,
)


def triggers(description: str, frontmatter: dict[str, Any], when: Iterable[str]) -> tuple[str, ...]:
    """At most MOST_TRIGGERS of at most TRIGGER_CHARS: stated keys, then description, then body.

    `frontmatter` has lower-case keys; `when` holds Markdown list items.
    """
    found: dict[str, None] = {}
    for text in (*_stated(frontmatter), *_sentences(description), *when):
        trigger = visible(plain(text))[:TRIGGER_CHARS].strip(" -–—•:;,")
        if trigger[:1] == trigger[-1:] == '"':
            trigger = trigger[1:-1].strip()
        if trigger:
            found.setdefault(trigger)
        if len(found) == MOST_TRIGGERS:
            break
    return tuple(found)


def items(value: Any) -> Iterator[str]:
    """The texts in a value that is a string, a list or a mapping of such; `a, b` stays whole."""
    if isinstance(value, str):
        bracketed = value.startswith("[") and value.endswith("]")
        for part in value[1:-1].split(",") if bracketed else value.split("\n"):
            yield part.strip().strip("\"'")
    elif isinstance(value, list):
        for item in value:
            yield from [item] if isinstance(item, str) else items(item)
    elif isinstance(value, dict):
        for key in ("keywords", "keyword", "phrases", "phrase", "patterns", "pattern", "when"):
            yield from items(value.get(key))


def _stated(frontmatter: dict[str, Any]) -> Iterator[str]:
    metadata = frontmatter.get("metadata")
    for source in (frontmatter, metadata if isinstance(metadata, dict) else {}):
        for key in _KEYS:
            yield from items(source.get(key))


def _sentences(description: str) -> Iterator[str]:
    for sentence in _SENTENCE_END.split(description[:_READ_CHARS]):
        if sentence and _says_when(sentence):
            yield sentence


def _says_when(sentence: str) -> bool:
    when = _WHEN.search(sentence)
    denied = NOT_WHEN.search(sentence)
    return when is not None and (denied is None or when.start() < denied.start())
