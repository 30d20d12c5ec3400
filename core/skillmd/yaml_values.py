"""YAML text to JSON-compatible values, in bounded time and memory, each key with its line."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any

import yaml

from core.skillmd.decoding import CONTROL

LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

MOST_DEPTH = 24  # real frontmatter stays under 10
MOST_NODES = 20_000  # counted after aliases are expanded

_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,15})")
_FLOAT = re.compile(r"[-+]?[0-9]{1,15}\.[0-9]{1,15}")


class TooComplexError(yaml.YAMLError):
    """Nested too deeply, or grown too large by aliases."""


class BadKeyError(yaml.MarkedYAMLError):
    """A key that is no scalar, as in an unquoted `{{name}}`."""


@dataclass(frozen=True, slots=True)
class Value:
    """What stands behind a top-level key."""

    data: Any  # JSON-compatible
    text: str  # as written, for values that are not what they should be
    line: int  # of the key, from 0


@dataclass(slots=True)
class Loaded:
    """One YAML text: its top-level keys, or none where it is no mapping."""

    values: dict[str, Value] = field(default_factory=dict)
    is_mapping: bool = False
    is_empty: bool = True
    duplicates: list[tuple[str, int]] = field(default_factory=list)  # key and line, from 0


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come yet."""

    items: dict[str, Any] | list[Any]
    start: Any
    nodes_before: int
    key: str | None = None
    key_mark: Any = None


def load(text: str) -> Loaded:
    """Read one YAML document. Raises yaml.YAMLError.

    Values are built from parser events, not by PyYAML's constructor: so depth and aliases are
    bounded, duplicate keys are seen, and dates, sexagesimal numbers and unknown tags stay text.
    """
    return _Builder(text).build()


class _Builder:
    def __init__(self, text: str) -> None:
        self._text = text
        self._loaded = Loaded()
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._unused: dict[str, Any] = {}  # anchors of scalars, with their marks
        self._nodes = 0
        self._line_starts = [0, *(found.end() for found in re.finditer("\n", text))]

    def build(self) -> Loaded:
        for event in yaml.parse(self._text, Loader=LOADER):
            if isinstance(event, yaml.ScalarEvent):
                self._scalar(event)
            elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                self._start(event)
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                self._end(event)
            elif isinstance(event, yaml.AliasEvent):
                self._alias(event)
        for anchor, mark in self._unused.items():
            # Text that happens to start with `&`, as in `description: &c. and so on`.
            raise yaml.MarkedYAMLError(
                problem=f"anchor {anchor!r} is never used", problem_mark=mark
            )
        return self._loaded

    def _scalar(self, event: Any) -> None:
        self._count(1)
        parent = self._stack[-1] if self._stack else None
        if parent and isinstance(parent.items, dict) and parent.key is None:
            parent.key, parent.key_mark = CONTROL.sub("", event.value), event.start_mark
            if parent.key in parent.items:
                self._loaded.duplicates.append((parent.key, self._line(event.start_mark)))
            return
        if event.tag and not event.tag.startswith("tag:yaml.org,"):
            raise yaml.MarkedYAMLError(
                problem=f"unknown tag {event.tag!r}", problem_mark=event.start_mark
            )
        if event.anchor:
            self._unused[event.anchor] = event.start_mark
        self._place(_typed(event), event, event, size=1)

    def _start(self, event: Any) -> None:
        self._count(1)
        self._refuse_as_key(event)
        if len(self._stack) >= MOST_DEPTH:
            raise TooComplexError(f"nested deeper than {MOST_DEPTH}")
        items: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._stack.append(_Open(items, event, self._nodes))

    def _end(self, event: Any) -> None:
        closed = self._stack.pop()
        self._place(closed.items, closed.start, event, size=self._nodes - closed.nodes_before + 1)

    def _alias(self, event: Any) -> None:
        self._refuse_as_key(event)
        if event.anchor not in self._anchors:
            raise yaml.MarkedYAMLError(
                problem=f"undefined alias {event.anchor!r}", problem_mark=event.start_mark
            )
        self._unused.pop(event.anchor, None)
        value, size = self._anchors[event.anchor]
        self._count(size)
        self._place(value, event, event, size=size)

    def _refuse_as_key(self, event: Any) -> None:
        parent = self._stack[-1] if self._stack else None
        if parent and isinstance(parent.items, dict) and parent.key is None:
            raise BadKeyError(problem="a key that is no scalar", problem_mark=event.start_mark)

    def _place(self, value: Any, start: Any, end: Any, *, size: int) -> None:
        if start.anchor and not isinstance(start, yaml.AliasEvent):
            self._anchors[start.anchor] = (value, size)
        if not self._stack:
            self._loaded.is_mapping = isinstance(value, dict)
            self._loaded.is_empty = value is None
            return
        parent = self._stack[-1]
        if isinstance(parent.items, list):
            parent.items.append(value)
            return
        key = parent.key or ""
        parent.items[key] = value
        if len(self._stack) == 1:
            text = self._text[start.start_mark.index : end.end_mark.index].strip()
            self._loaded.values[key] = Value(value, text, self._line(parent.key_mark))
        parent.key = None

    def _count(self, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MOST_NODES:
            raise TooComplexError(f"more than {MOST_NODES} values")

    def _line(self, mark: Any) -> int:
        return bisect_right(self._line_starts, mark.index) - 1


def _typed(event: Any) -> Any:
    """A scalar's value; only plain ones can be other than text."""
    text = CONTROL.sub("", event.value)
    if not event.implicit[0]:
        return text
    lowered = text.lower()
    if lowered in ("", "~", "null"):
        return None
    if lowered in _BOOLEANS:
        return _BOOLEANS[lowered]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
