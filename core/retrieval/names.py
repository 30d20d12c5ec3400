"""Skill names as a task may call them; pure. What counts as a call: docs/decisions/0015."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

MAX_WORDS = 8  # the longest real names have seven
LEAD_CHARS = 60  # before a name that are looked at
NAME_CHARS = 200  # before the word "skill"

_QUOTED = re.compile(
    r'"([^"\n]{1,100})"|“([^”\n]{1,100})”|`([^`\n]{1,100})`'
    r"|(?<!\w)'([^'\n]{1,100})'(?!\w)|(?<!\w)‘([^’\n]{1,100})’(?!\w)"
)
# Not a path (`/etc/hosts`, `a/b`), a URL, a file (`/notes.txt`) or a plugin's (`/figma:draw`).
_SLASHED = re.compile(r"(?<![\w/.:~])/(\w[\w-]*)(?![\w/-]|[.:]\w)")
_HYPHENATED = re.compile(r"(?<![\w-])(?=[^\W_]+[-_]+[^\W_])([\w-]++)")
_PLAIN = re.compile(r"[\w\s+#'-]+")
_SKILL = re.compile(r"\s(?=skill\b)", re.IGNORECASE)
_BEFORE_SKILL = re.compile(r"\s+skill\b", re.IGNORECASE)

_VERB = r"(?:use|using|run|call|invoke|load|try)"
_BETWEEN = r"(?:(?:the|my|your)\s+)?(?:skill\s+)?\Z"
_BIDDEN = re.compile(rf"(?<![\w-]){_VERB}\s+{_BETWEEN}", re.IGNORECASE)
_DENIED = re.compile(
    rf"(?:\bnot|n['’]t|\bnever|\bwithout|\binstead\s+of)\s+(?:{_VERB}\s+)?{_BETWEEN}",
    re.IGNORECASE,
)
_LINE_BEGINS = re.compile(r"(?:\A|\n)[ \t>*-]*\Z")

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
    where quoted or hyphenated. Every name is in one of the indexes; "do not use" is no call.
    """
    text = unicodedata.normalize("NFKC", task)
    spans = [*_marked(text), *_before_skill(text, indexes)]
    names = [
        name
        for start, name in sorted(spans)
        if not _DENIED.search(_lead(text, start))
        and any(index.positions(name) for index in indexes)
    ]
    return list(dict.fromkeys(names))


def _lead(text: str, start: int) -> str:
    return text[max(0, start - LEAD_CHARS) : start]


def _marked(text: str) -> Iterator[tuple[int, str]]:
    """Where a name that is slashed, quoted or hyphenated is called, and the name."""
    for pattern in (_SLASHED, _QUOTED, _HYPHENATED):
        for match in pattern.finditer(text):
            lead = _lead(text, match.start())
            other = _LINE_BEGINS.search(lead) if pattern is _SLASHED else _followed(text, match)
            if other or _BIDDEN.search(lead):
                name = next(group for group in match.groups() if group is not None)
                yield match.start(), normalised(name)


def _followed(text: str, match: re.Match[str]) -> re.Match[str] | None:
    return _BEFORE_SKILL.match(text, match.end())


def _before_skill(text: str, indexes: Sequence[NameIndex]) -> Iterator[tuple[int, str]]:
    """Where a verb and the word "skill" enclose a known name, and the longest such name."""
    for match in _SKILL.finditer(text):
        begin = max(0, match.start() - NAME_CHARS)
        words = list(re.finditer(r"\S+", text[begin : match.start()]))[-MAX_WORDS:]
        for word in words:
            start = begin + word.start()
            said = text[start : match.start()]
            name = normalised(said) if _PLAIN.fullmatch(said) else ""
            known = any(index.positions(name) for index in indexes)
            if known and _BIDDEN.search(_lead(text, start)):
                yield start, name
                break
