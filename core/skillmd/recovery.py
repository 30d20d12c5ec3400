"""Recovery of keys, line by line, from frontmatter that YAML cannot read."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import yaml

from core.skillmd.problems import Findings
from core.skillmd.yaml_values import load

Numbered = list[tuple[int, str]]  # a line's number in the file, from 1, and its text

MOST_KEYS = 1_000
MOST_DEPTH = 3  # of mappings inside mappings

_KNOWN = (
    "name|description|licen[cs]e|version|author|tags|category|metadata|homepage|compatibility"
    "|allowed-tools|user-invocable|argument-hint|disable-model-invocation|model|triggers"
)
KNOWN_INLINE = re.compile(rf"(?:(?<=\s)|^)({_KNOWN}):\s", re.IGNORECASE)
_KEY = re.compile(r"""["']?([A-Za-z_][\w.-]*)["']?[ \t]*(?::[ \t]+|:$|：[ \t]*)(.*)""")
_GLUED_KEY = re.compile(rf"({_KNOWN}):(\S.*)", re.IGNORECASE)
_ODD_KEY = re.compile(r"(?:#{1,6}[ \t]+|-[ \t]+)(name|description)[ \t]*:[ \t]*(.*)", re.IGNORECASE)
_BARE_KEY = re.compile(r"(name|description)[ \t]+(\S.*)")
_BLOCK_SCALAR = re.compile(r"([|>])[+-]?\d?[+-]?(?:[ \t]+(.*))?")


@dataclass(frozen=True, slots=True)
class Entry:
    """A top-level key: its value, its text as written, and its line in the file."""

    data: Any  # JSON-compatible
    text: str
    line: int
    odd: bool = False  # not written as `key: value`


class Key(NamedTuple):
    """A key and what follows it."""

    name: str
    rest: str  # of its line
    odd: bool = False


def key_of(line: str, *, bare: bool = False) -> Key | None:
    """The key that a line opens, if it opens one; `bare` also takes `name value`."""
    found = _KEY.fullmatch(line) or _GLUED_KEY.fullmatch(line)
    if found:
        return Key(found[1], found[2])
    found = _ODD_KEY.fullmatch(line) or (_BARE_KEY.fullmatch(line) if bare else None)
    return Key(found[1].lower(), found[2], odd=True) if found else None


def recovered(
    lines: Numbered, findings: Findings, *, bare: bool = False, depth: int = 1
) -> dict[str, Entry]:
    """Top-level keys; a value that YAML cannot read alone either is taken as its text."""
    if len(lines) == 1:
        lines = _split_one_line(lines[0]) or lines
    entries: dict[str, Entry] = {}
    for key, number, value in _blocks(lines, findings, bare=bare):
        if len(entries) == MOST_KEYS:
            findings.add("oversize-frontmatter", f"more than {MOST_KEYS} keys", number)
            break
        if key.name in entries:
            findings.add("duplicate-keys", f"`{key.name}` stands twice: the last counts", number)
        entries[key.name] = _entry(key, number, value, findings, depth)
    return entries


def _split_one_line(line: tuple[int, str]) -> Numbered:
    starts = [found.start() for found in KNOWN_INLINE.finditer(line[1])]
    ends = [*starts[1:], len(line[1])]
    return [(line[0], line[1][a:b].strip()) for a, b in zip(starts, ends, strict=False)]


def _blocks(
    lines: Numbered, findings: Findings, *, bare: bool
) -> Iterator[tuple[Key, int, list[str]]]:
    """Each key with its line and the lines of its value, the first of them its own rest."""
    key, start = None, 0
    value: list[str] = []
    for number, line in lines:
        found = key_of(line, bare=bare)
        if found:
            if key:
                yield key, start, value
            key, start, value = found, number, [found.rest]
        elif key:
            value.append(line)
        elif line.strip() and not line.startswith("#"):
            findings.add("stray-text", "belongs to no key and is left out", number)
    if key:
        yield key, start, value


def _entry(key: Key, number: int, value: list[str], findings: Findings, depth: int) -> Entry:
    raw = "\n".join(value).strip()
    try:
        loaded = load(f"{key.name}: " + "\n".join(value))
        if list(loaded.values) == [key.name]:
            return Entry(loaded.values[key.name].data, raw, number, key.odd)
    except yaml.YAMLError:
        pass
    findings.add("unparsed-value", f"the value of `{key.name}` is taken as text", number)
    nested = _nested(value, depth + 1) if depth < MOST_DEPTH else None
    return Entry(nested or _text_of(value), raw, number, key.odd)


def _nested(value: list[str], depth: int) -> dict[str, Any] | None:
    """The readable keys of an indented mapping."""
    inner = textwrap.dedent("\n".join(value[1:])).split("\n")
    if value[0].strip() or key_of(inner[0]) is None:
        return None
    entries = recovered(list(enumerate(inner, 1)), Findings(), depth=depth)
    return {name: entry.data for name, entry in entries.items()}


def _text_of(value: list[str]) -> str:
    """What a person reads in a value that is no YAML: without block marks and quotes."""
    scalar = _BLOCK_SCALAR.fullmatch(value[0].strip())
    if scalar and (scalar[2] or len(value) > 1):
        rest = textwrap.dedent("\n".join(value[1:])).strip()
        text = rest if scalar[1] == "|" else " ".join(rest.split())
        return f"{scalar[2] or ''} {text}".strip()
    text = " ".join(line.strip() for line in value).strip()
    quote = text[:1]
    if quote in ('"', "'"):
        text = text[1:].removesuffix(quote).replace(f"\\{quote}", quote).replace("\\'", "'")
    return text
