"""Skill names as a task may mention them: quoted, slash-called, or several words verbatim."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

# Two words in a row are mostly chance among 80,000 names: docs/decisions/0006.
SEVERAL_WORDS = 3

# The longest real names have seven words; more would be a sentence.
MAX_WORDS = 8

_QUOTED = re.compile(
    r'"([^"\n]{1,100})"|“([^”\n]{1,100})”|`([^`\n]{1,100})`'
    r"|(?<!\w)'([^'\n]{1,100})'(?!\w)|(?<!\w)‘([^’\n]{1,100})’(?!\w)"
)
# Not a path (`/etc/hosts`, `a/b`), a URL or a file (`/notes.txt`).
_SLASH_CALLED = re.compile(r"(?<![\w/.:~])/(\w[\w-]*)(?![\w/-]|\.\w)")

_SEPARATORS = re.compile(r"[\s_-]+")
# Punctuation at a word's edge ends a run of words: "the pdf. Form filling" names no "pdf-form".
_EDGE_PUNCTUATION = re.compile(r"(?<![^\s_-])[^\w\s+#-]+|[^\w\s+#-]+(?![^\s_-])")
_BREAK = "\0"


class NameIndex:
    """Normalised names of a row table and the positions that bear them."""

    def __init__(self, names: Sequence[str]) -> None:
        self._positions: dict[str, list[int]] = {}
        self._longest: dict[str, int] = {}
        for position, name in enumerate(names):
            self._positions.setdefault(normalised(name), []).append(position)
        for name in self._positions:
            words = name.split(" ")
            if 2 <= len(words) <= MAX_WORDS:
                start = f"{words[0]} {words[1]}"
                self._longest[start] = max(self._longest.get(start, 0), len(words))

    def positions(self, name: str) -> Sequence[int]:
        """Positions of the rows with this normalised name."""
        return self._positions.get(name, ())

    def longest(self, start: str) -> int:
        """Words in the longest name that begins with these two words; 0 without one."""
        return self._longest.get(start, 0)


def normalised(name: str) -> str:
    """Case folded, with hyphens, underscores and white space equal: `PDF_Form filler`."""
    return " ".join(word for word in _words(name) if word != _BREAK)


def mentions(task: str, indexes: Sequence[NameIndex]) -> list[str]:
    """The normalised names that the task mentions, each once, explicit calls first.

    Quoted and slash-called names may be one word; verbatim ones have three to `MAX_WORDS`. Where
    names overlap, the longest from the left counts. Every name is in one of the indexes.
    """
    called = [
        name for name in _called(task) if name and any(index.positions(name) for index in indexes)
    ]
    return list(dict.fromkeys([*called, *_verbatim(_words(task), indexes)]))


def _words(text: str) -> list[str]:
    folded = unicodedata.normalize("NFKC", text).casefold()
    marked = _EDGE_PUNCTUATION.sub(f" {_BREAK} ", folded)
    return [word for word in _SEPARATORS.split(marked) if word]


def _called(task: str) -> Iterator[str]:
    for match in _QUOTED.finditer(task):
        yield normalised(next(group for group in match.groups() if group is not None))
    for match in _SLASH_CALLED.finditer(task):
        yield normalised(match[1])


def _verbatim(words: Sequence[str], indexes: Sequence[NameIndex]) -> Iterator[str]:
    place = 0
    while place + 1 < len(words):
        start = f"{words[place]} {words[place + 1]}"
        longest = max((index.longest(start) for index in indexes), default=0)
        for count in range(min(longest, len(words) - place), SEVERAL_WORDS - 1, -1):
            name = " ".join(words[place : place + count])
            if any(index.positions(name) for index in indexes):
                yield name
                place += count - 1
                break
        place += 1
