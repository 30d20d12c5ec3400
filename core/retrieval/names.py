"""Skill names as a task may call them; pure. What counts as a call: docs/decisions/0015."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

MAX_WORDS = 8  # the longest real names have seven

_VERB = r"\b(?:use|using|run|call|invoke|load|try)\b"
_QUOTED = r"""["“`'‘]([^"”`'’\n]{1,100})["”`'’]"""
# Possessive, and only from its beginning: a task of one endless word must not take seconds.
_IDENTIFIER = r"(?<![\w-])(?=\w*[-_])([\w-]++)"
_SLASHED = r"/(\w[\w-]*)(?![\w/-]|\.\w)"  # no path (`/etc/hosts`), no file (`/notes.txt`)
_BEFORE_SKILL = rf"((?:(?!{_VERB})[\w-]++\s++){{0,{MAX_WORDS - 1}}}?[\w-]++)(?=\s++skill\b)"

_CALL = re.compile(
    rf"^[ \t]*{_SLASHED}"
    rf"|{_VERB}\s++(?:the\s++|my\s++)?"
    rf"(?:{_SLASHED}|{_BEFORE_SKILL}|{_QUOTED}|{_IDENTIFIER})"
    rf"|(?:{_QUOTED}|{_IDENTIFIER})(?=\s++skill\b)",
    re.IGNORECASE | re.MULTILINE,
)

_SEPARATORS = re.compile(r"[\s_-]+")
_EDGE_PUNCTUATION = re.compile(r"(?<![^\s_-])[^\w\s+#-]+|[^\w\s+#-]+(?![^\s_-])")


class NameIndex:
    """Normalised names of a row table and the positions that bear them."""

    def __init__(self, names: Sequence[str]) -> None:
        self._positions: dict[str, list[int]] = {}
        for position, name in enumerate(names):
            self._positions.setdefault(normalised(name), []).append(position)

    def positions(self, name: str) -> Sequence[int]:
        """Positions of the rows with this normalised name."""
        return self._positions.get(name, ())


def normalised(name: str) -> str:
    """Case folded, with hyphens, underscores and white space equal: `PDF_Form filler`."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    words = _SEPARATORS.split(_EDGE_PUNCTUATION.sub(" ", folded))
    return " ".join(word for word in words if word)


def called(task: str, indexes: Sequence[NameIndex]) -> list[str]:
    """The normalised names that the task calls, each once, in its order.

    `/name` where a line begins; after "use", "run" and their like, `/name`, a quoted name, one with
    hyphens or underscores, or any before the word "skill"; before that word also without a verb,
    where quoted or hyphenated. Every name is in one of the indexes.
    """
    names = dict.fromkeys(_names(task))
    return [name for name in names if name and any(index.positions(name) for index in indexes)]


def _names(task: str) -> Iterator[str]:
    for match in _CALL.finditer(task):
        yield normalised(next(group for group in match.groups() if group is not None))
