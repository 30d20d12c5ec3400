"""Fields of the frontmatter: name, description and the rest, held against the specification."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from core.skillmd.body import plain
from core.skillmd.decoding import name_invisible, visible
from core.skillmd.problems import Findings
from core.skillmd.recovery import Entry

# Limits of the Agent Skills specification, in characters.
NAME_CHARS = 64
DESCRIPTION_CHARS = 1_024
COMPATIBILITY_CHARS = 500

MOST_NAME_CHARS = 256  # of a name that breaks the rule, so that no listing is flooded
MOST_TAGS = 50
TAG_CHARS = 64

Entries = Mapping[str, Entry]

_KNOWN = frozenset(
    """
    name description license licence compatibility metadata allowed-tools tags keywords category
    triggers trigger when_to_use internal disable-model-invocation
    """.split()  # noqa: SIM905 - a list of fifteen quoted words reads worse
)
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_TEMPLATE = re.compile(r"\{\{?[^{}\n]{1,400}\}\}?|<[^<>\n]{1,100}>")
_IN_BRACKETS = re.compile(r"\[[^\[\]\n]{1,1000}\]")
# Held against 82,803 published descriptions: finds only templates that were never filled in.
_PLACEHOLDER = re.compile(
    r"\W{0,3}(?:(?-i:TODO|TBD|FIXME)\b|to-?do\s?[:：]|待[办辦](?:事[项項])?[:：]|lorem ipsum"
    r"|placeholder(?:\W{1,3}|$)(?!\w)|replace (?:this|with|me)\b"
    r"|(?:(?:an?|your|insert|add|brief|short|one[- ]sentence|one[- ]line|skill) ){1,4}"
    r"(?:description|summary)(?:\W{0,3}$| here\b| of (?:the|this|your|what)\b| - )"
    r"|description (?:here|goes here|of (?:the|this|your) skill)\b"
    r"|describe (?:what (?:this|the|your)|your|this) skill\b)"
    r"|\W{0,9}use when this capability is needed\W{0,9}$",  # all that an aggregator left
    re.IGNORECASE,
)


def by_key(entries: Mapping[str, Entry], findings: Findings) -> dict[str, Entry]:
    """Entries under lower-case keys; `Name` counts as `name` where that is not there."""
    found: dict[str, Entry] = {}
    for key, entry in entries.items():
        lowered = key.lower()
        if lowered == key or lowered not in entries:
            found[lowered] = entry
        if lowered != key and lowered in _KNOWN:
            findings.add("key-case", f"`{key}` should be `{lowered}`", entry.line)
    return found


def name(entry: Entry | None, folder: str, findings: Findings, *, top: int) -> str:
    """The name as stated, or the folder's where none is stated or it is a placeholder.

    `top` is the line where a name was to be expected.
    """
    text = _stated(entry, "name-not-string", findings)[:MOST_NAME_CHARS].strip()
    line = entry.line if entry else top
    if not text or (entry and entry.odd):
        findings.add("no-name", "no `name:` with a value", line)
    if len(text or folder) > NAME_CHARS or not _NAME.fullmatch(text or folder):
        detail = f"`{text or folder}` is not 1-{NAME_CHARS} of a-z, 0-9 and single inner hyphens"
        findings.add("name-not-spec", detail, line)
    if text and text != folder:
        findings.add("name-mismatch", f"`{text}` stands in the folder `{folder}`", line)
    if text and (_TEMPLATE.fullmatch(text) or _IN_BRACKETS.fullmatch(text)):
        findings.add("placeholder-name", f"`{text}` was never filled in", line)
        return folder
    return text or folder


def description(entry: Entry | None, findings: Findings, *, top: int) -> str:
    """The description as stated, line breaks kept; empty where there is none to use."""
    text = _stated(entry, "description-not-string", findings, keep_lines=True)
    if entry is None or entry.odd:
        findings.add("no-description", "no `description:`", entry.line if entry else top)
        return text
    if not text:
        findings.add("empty-description", "`description:` has no value", entry.line)
    elif is_placeholder(text):
        findings.add("placeholder-description", f"`{text}` was never filled in", entry.line)
        return ""
    elif len(text) > DESCRIPTION_CHARS:
        detail = f"{len(text)} characters, {DESCRIPTION_CHARS} are allowed"
        findings.add("description-too-long", detail, entry.line)
    return text


def is_placeholder(text: str) -> bool:
    """Whether a description is a template's, to be replaced by its author, or holds no word."""
    if not re.search(r"\w", text):
        return True
    return bool(_TEMPLATE.fullmatch(text) or _PLACEHOLDER.match(plain(text)))


def licence(entries: Entries, findings: Findings) -> str | None:
    """The licence as stated, under either spelling."""
    entry = entries.get("license") or entries.get("licence")
    return _stated(entry, "field-not-string", findings)[:DESCRIPTION_CHARS].strip() or None


def check_compatibility(entries: Entries, findings: Findings) -> None:
    """Name a compatibility note that the specification forbids."""
    entry = entries.get("compatibility")
    text = _stated(entry, "field-not-string", findings)
    if entry and len(text) > COMPATIBILITY_CHARS:
        detail = f"{len(text)} characters, {COMPATIBILITY_CHARS} are allowed"
        findings.add("compatibility-too-long", detail, entry.line)


def tags(entries: Entries) -> tuple[str, ...]:
    """Lower-case tags, keywords and category, each once."""
    found: dict[str, None] = {}
    for source in (values(entries), _metadata(entries)):
        for key in ("tags", "keywords", "category"):
            for tag in _tags_of(source.get(key)):
                found.setdefault(tag)
    return tuple(found)[:MOST_TAGS]


def is_hidden(entries: Entries) -> bool:
    """Whether the skill asks never to be routed to."""
    top, metadata = values(entries), _metadata(entries)
    flags = (top.get("disable-model-invocation"), top.get("internal"), metadata.get("internal"))
    return any(flag is True or str(flag).lower() == "true" for flag in flags)


def values(entries: Entries) -> dict[str, Any]:
    """The values alone, by lower-case key."""
    return {key: entry.data for key, entry in entries.items()}


def _metadata(entries: Entries) -> dict[str, Any]:
    metadata = entries["metadata"].data if "metadata" in entries else None
    return metadata if isinstance(metadata, dict) else {}


def _stated(entry: Entry | None, code: str, findings: Findings, *, keep_lines: bool = False) -> str:
    """A field's text; what is no text is named by `code` and taken as it is written."""
    if entry is None or entry.data is None:
        return ""
    text = entry.data
    if not isinstance(text, str):
        findings.add(code, f"is of type {type(text).__name__}: taken as text", entry.line)
        text = _as_text(text, entry.text)
    name_invisible(text, findings, entry.line)
    text = visible(text).strip()
    return text if keep_lines else " ".join(text.split())


def _as_text(value: Any, written: str) -> str:
    if isinstance(value, list) and len(value) > 1 and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    bracketed = _IN_BRACKETS.fullmatch(written)
    if bracketed and " " in written and not _PLACEHOLDER.match(written):
        return written[1:-1]
    return written


def _tags_of(value: Any) -> Iterator[str]:
    """Tags in a string with commas, a list, or a list of mappings such as `- domain: law`."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _tags_of(item if isinstance(item, dict) else str(item or ""))
    elif isinstance(value, str):
        for part in value.strip("[]").split(","):
            tag = " ".join(visible(part).strip(" \"'#").lower().split())[:TAG_CHARS].strip()
            if tag:
                yield tag
