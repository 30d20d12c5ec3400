"""Frontmatter of a SKILL.md: where it stands, and its keys even where YAML cannot read it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from core.skillmd.decoding import CONTROL
from core.skillmd.problems import Findings
from core.skillmd.recovery import KNOWN_INLINE, Entry, Numbered, key_of, recovered
from core.skillmd.yaml_values import Loaded, TooComplexError, load

MOST_CHARS = 100_000
MOST_LINES_BEFORE = 300  # how far down frontmatter is looked for
MOST_LINES_LATE = 60  # how long such frontmatter may be

_DASHES = re.compile(r"[ \t]*(?:[-–—−]{2,}|—)[ \t]*")
_GLUED = re.compile(r"-{3,}[ \t]*([^\s-].*)")
_CODE_FENCE = re.compile(r"[ \t]{0,3}(`{3,}|~{3,})[ \t]*([\w-]*)[ \t]*")
_ROUTING_KEY = re.compile(r"""["']?(?:name|description)["']?[ \t]*[:：]""", re.IGNORECASE)
_HEADING = re.compile(r"#{1,6}[ \t]+(?!(?:name|description)[ \t]*:)\S", re.IGNORECASE)
_CONFLICT = re.compile(r"(?:<{7}|={7}|>{7}|\|{7})(?: .*)?")


@dataclass(frozen=True, slots=True)
class Frontmatter:
    """What was read above, and the lines of Markdown that remain."""

    body: Numbered
    entries: dict[str, Entry] = field(default_factory=dict)
    example: bool = False  # stands in a code block: shows what frontmatter looks like
    line: int = 1  # of its first key, or of what stands in its place

    def values(self) -> dict[str, Any]:
        """The values alone, by key as written."""
        return {key: entry.data for key, entry in self.entries.items()}


@dataclass(frozen=True, slots=True)
class _Place:
    yaml: Numbered
    body: Numbered
    closed: bool = True
    example: bool = False


def read(lines: Sequence[str], findings: Findings) -> Frontmatter:
    """Find and read the frontmatter of a file's lines; every oddity goes to `findings`."""
    numbered = list(enumerate(lines, 1))
    place = _locate(numbered, findings)
    if place is None:
        findings.add("no-frontmatter", "the file has no frontmatter", 1)
        return Frontmatter(numbered)
    result = _entries(place, findings)
    return result if result.example else _with_second_block(result, findings)


# --- where it stands


def _locate(numbered: Numbered, findings: Findings) -> _Place | None:
    first = _next_text(numbered, 0)
    at, commented = _behind_comments(numbered, first)
    fenced = _CODE_FENCE.fullmatch(numbered[at][1]) if at < len(numbered) else None
    if fenced and _opens(numbered, _next_text(numbered, at + 1), certain=False):
        findings.add("fenced-file", "wrapped in a code block", numbered[at][0])
        numbered = _without_code_fence(numbered, at, fenced[1])
        at = _next_text(numbered, at)
        findings.add("frontmatter-not-first", "a code fence stands before it", numbered[at][0])
    elif not _opens(numbered, at, certain=not commented):
        return _further_down(numbered, findings)
    if first:
        findings.add("leading-blank", "blank lines before the frontmatter", 1)
    if commented:
        findings.add("comment-before-frontmatter", "an HTML comment stands before it", first + 1)
    return _between_fences(numbered, at, fenced is not None, findings)


def _next_text(numbered: Numbered, start: int) -> int:
    """Index of the first line from `start` that is not blank, or the number of lines."""
    return next((i for i in range(start, len(numbered)) if _shown(numbered[i][1])), len(numbered))


def _shown(line: str) -> str:
    return CONTROL.sub("", line).strip()


def _behind_comments(numbered: Numbered, start: int) -> tuple[int, bool]:
    at = start
    while at < len(numbered) and numbered[at][1].lstrip().startswith("<!--"):
        end = next((i for i in range(at, len(numbered)) if "-->" in numbered[i][1]), None)
        if end is None:
            return start, False
        at = _next_text(numbered, end + 1)
    return at, at > start


def _opens(numbered: Numbered, at: int, *, certain: bool) -> bool:
    """Whether frontmatter opens at `at`; a plain `---` is enough only where that is `certain`."""
    if at >= len(numbered):
        return False
    line = _shown(numbered[at][1])
    if line == "---" and certain:
        return True
    if _DASHES.fullmatch(line):
        after = _next_text(numbered, at + 1)
        return after < len(numbered) and key_of(_shown(numbered[after][1])) is not None
    if _one_line(line):
        return True
    return _ROUTING_KEY.match(line) is not None


def _one_line(line: str) -> str | None:
    """The keys of a whole frontmatter on one line, as in `--- name: x description: y ---`."""
    keys = line.strip("-").strip()
    fenced = line.startswith("--- ") and line.endswith(" ---")
    return keys if fenced and KNOWN_INLINE.match(keys) else None


def _without_code_fence(numbered: Numbered, at: int, mark: str) -> Numbered:
    """The lines without the code fences: they hold the whole file, or the frontmatter alone."""
    inner = numbered[:at] + numbered[at + 1 :]
    last = max((i for i, (_, line) in enumerate(inner) if _shown(line)), default=0)
    below = [i for i in range(1, len(inner)) if inner[i - 1][1].rstrip() == "---"]
    for i in (last, *below[1:2]):
        closing = _CODE_FENCE.fullmatch(_shown(inner[i][1]))
        if closing and closing[1].startswith(mark) and not closing[2]:
            return inner[:i] + inner[i + 1 :]
    return inner


def _further_down(numbered: Numbered, findings: Findings) -> _Place | None:
    """Frontmatter behind other text; one in a code block is taken for an example."""
    examples = []
    code = ""
    for at, (number, line) in enumerate(numbered[:MOST_LINES_BEFORE]):
        fence = _CODE_FENCE.match(line)
        if fence:
            if not code:
                code = fence[1]
            elif fence[1].startswith(code):
                code = ""
        elif line.rstrip() == "---":
            end = _late_end(numbered, at)
            if end and not code:
                findings.add("frontmatter-not-first", "text stands before it", number)
                return _Place(numbered[at + 1 : end], numbered[:at] + numbered[end + 1 :])
            if end:
                examples.append(_Place(numbered[at + 1 : end], numbered, example=True))
    for place in examples[:1]:
        detail = "stands in a code block: an example, whose values are not used"
        findings.add("frontmatter-not-first", detail, place.yaml[0][0] - 1)
        return place
    return None


def _late_end(numbered: Numbered, at: int) -> int | None:
    """Index of the fence that closes frontmatter opened at `at`, if it looks like frontmatter."""
    routing = False
    for i in range(at + 1, min(at + MOST_LINES_LATE, len(numbered))):
        line = numbered[i][1].rstrip()
        if line == "---":
            return i if routing else None
        if i == at + 1 and key_of(line) is None:
            return None
        routing = routing or _ROUTING_KEY.match(line) is not None
    return None


def _between_fences(numbered: Numbered, at: int, fenced: bool, findings: Findings) -> _Place:
    number, line = numbered[at][0], _shown(numbered[at][1])
    one_line = _one_line(line)
    if one_line:
        findings.add("one-line-frontmatter", "all keys stand on one line", number)
        return _Place([(number, one_line)], numbered[at + 1 :])
    start = at + 1
    if _ROUTING_KEY.match(line):
        findings.add("no-opening-fence", "starts with a key, not with `---`", number)
        start = at
    elif numbered[at][1].rstrip() != "---":
        findings.add("odd-fence", f"opens with `{line}`", number)
    for i in range(start, len(numbered)):
        closing = _closing(numbered[i], fenced, findings)
        if closing is not None:
            return _Place(numbered[start:i], closing + numbered[i + 1 :])
    return _unclosed(numbered, start, findings)


def _closing(numbered_line: tuple[int, str], fenced: bool, findings: Findings) -> Numbered | None:
    """What of a closing fence's line belongs to the body; None where the line is none."""
    number, line = numbered_line[0], CONTROL.sub("", numbered_line[1])
    if line.rstrip() == "---":
        return []
    if not line.startswith(("-", "–", "—", "−", ".", "`", "~")):
        return None
    glued = _GLUED.fullmatch(line)
    of_code_block = fenced and _CODE_FENCE.fullmatch(line)
    if not (glued or _DASHES.fullmatch(line) or line.rstrip() == "..." or of_code_block):
        return None
    findings.add("odd-fence", f"closes with `{line.strip()[:20]}`", number)
    return [(number, glued[1])] if glued else []


def _unclosed(numbered: Numbered, start: int, findings: Findings) -> _Place:
    """Frontmatter up to an indented fence, else up to the first line that cannot belong to it."""
    opened = numbered[start - 1][0] if start else numbered[start][0]
    findings.add("unclosed-frontmatter", "no `---` closes it", opened)
    for i in range(start, len(numbered)):
        if numbered[i][1].strip() == "---":
            rest = numbered[i + 1 :]
            dedented = textwrap.dedent("\n".join(line for _, line in rest)).split("\n")
            body = [(number, line) for (number, _), line in zip(rest, dedented, strict=False)]
            return _Place(numbered[start:i], body, closed=False)
    end = _loose_end(numbered, start)
    return _Place(numbered[start:end], numbered[end:], closed=False)


def _loose_end(numbered: Numbered, start: int) -> int:
    blank = True
    for i in range(start, len(numbered)):
        line = numbered[i][1]
        if _HEADING.match(line):
            return i
        foreign = line[:1] not in ("", " ", "\t", "-", "#", "}", "]") and key_of(line) is None
        if blank and foreign:
            return i
        blank = not line.strip()
    return len(numbered)


# --- what it says


def _entries(place: _Place, findings: Findings) -> Frontmatter:
    lines, body = place.yaml, place.body
    line = lines[0][0] if lines else 1
    if not any(_shown(text) for _, text in lines):
        findings.add("empty-frontmatter", "holds no keys", line)
        return Frontmatter(body, line=line)
    lines = _within_limit(lines, findings)
    broken = _broken_by_characters(lines, findings)
    lines = [(number, CONTROL.sub("", text)) for number, text in lines]
    try:
        loaded = _loaded(lines, findings)
    except yaml.YAMLError as error:
        if not broken:
            _name_error(error, lines, findings)
        end = _heading_in(lines) if place.closed and not place.example else None
        if end is not None:
            # The fence further down is a rule in the body: the frontmatter was never closed.
            findings.add("unclosed-frontmatter", "a heading stands before its `---`", lines[end][0])
            rest = [*lines[end:], (lines[-1][0] + 1, "---"), *body]
            return _entries(_Place(lines[:end], rest, closed=False), findings)
        lines = _without_conflicts(lines, findings)
        return Frontmatter(body, recovered(lines, findings), example=place.example, line=line)
    entries = _entries_of(loaded, lines)
    if not loaded.is_mapping:
        code = "empty-frontmatter" if loaded.is_empty else "frontmatter-not-mapping"
        findings.add(code, "holds no `key: value` pairs", line)
        entries = recovered(lines, findings, bare=True)
    return Frontmatter(body, entries, example=place.example, line=line)


def _within_limit(lines: Numbered, findings: Findings) -> Numbered:
    size = 0
    for i, (number, text) in enumerate(lines):
        size += len(text) + 1
        if size > MOST_CHARS:
            detail = f"longer than {MOST_CHARS} characters: the rest is not read"
            findings.add("oversize-frontmatter", detail, number)
            return [*lines[:i], (number, text[:1000])]
    return lines


def _broken_by_characters(lines: Numbered, findings: Findings) -> bool:
    for number, text in lines:
        found = CONTROL.search(text)
        if found:
            detail = f"YAML forbids the character U+{ord(found.group()):04X}"
            findings.add("yaml-error", detail, number)
            return True
    return False


def _loaded(lines: Numbered, findings: Findings) -> Loaded:
    loaded = load("\n".join(text for _, text in lines))
    for key, line in loaded.duplicates:
        findings.add("duplicate-keys", f"`{key}` stands twice: the last counts", lines[line][0])
    return loaded


def _name_error(error: yaml.YAMLError, lines: Numbered, findings: Findings) -> None:
    if isinstance(error, TooComplexError):
        findings.add("yaml-too-complex", str(error), lines[0][0])
        return
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    number = lines[min(mark.line, len(lines) - 1)][0] if mark else lines[0][0]
    detail = getattr(error, "problem", None) or str(error)
    findings.add("yaml-error", str(detail), number)


def _heading_in(lines: Numbered) -> int | None:
    """Index of the first Markdown heading that follows a blank line."""
    for i in range(1, len(lines)):
        if _HEADING.match(lines[i][1]) and not lines[i - 1][1].strip():
            return i
    return None


def _without_conflicts(lines: Numbered, findings: Findings) -> Numbered:
    """Lines of both sides of a merge conflict, without its markers."""
    if not any(text.startswith("<<<<<<<") for _, text in lines):
        return lines
    marker = next(number for number, text in lines if text.startswith("<<<<<<<"))
    findings.add("merge-conflict", "conflict markers: both sides are read", marker)
    return [(number, text) for number, text in lines if not _CONFLICT.fullmatch(text)]


def _entries_of(loaded: Loaded, lines: Numbered) -> dict[str, Entry]:
    return {
        key: Entry(value.data, value.text, lines[value.line][0])
        for key, value in loaded.values.items()
    }


def _with_second_block(first: Frontmatter, findings: Findings) -> Frontmatter:
    """Add the keys of a second frontmatter that follows the first at once.

    The first is an aggregator's, the second the author's: so the second's description counts.
    """
    at = _next_text(first.body, 0)
    if at >= len(first.body) or first.body[at][1].rstrip() != "---":
        return first
    end = _late_end(first.body, at)
    if end is None:
        return first
    findings.add("multiple-documents", "a second frontmatter follows", first.body[at][0])
    second = _entries(_Place(first.body[at + 1 : end], first.body[end + 1 :]), findings)
    entries = {**second.entries, **first.entries}
    described = second.entries.get("description")
    if described and re.search(r"\w", str(described.data or "")):
        entries["description"] = described
    return replace(first, body=second.body, entries=entries)
