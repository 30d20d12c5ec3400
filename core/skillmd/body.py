"""Body of a SKILL.md: its sections, code blocks, paragraphs and lists of when to use it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markdown_it import MarkdownIt
from markdown_it.token import Token

from core.skillmd.decoding import CONTROL
from core.skillmd.problems import Findings
from core.skillmd.recovery import Numbered
from core.types import CodeBlock, Section

MOST_NESTING = 20
MOST_CHARS = 300_000  # looked at for structure: 75,000 tokens, more than any reader has room for

# Blocks alone: inline parsing costs as much again and nothing here needs it; reference
# definitions are re-scanned per paragraph, which is quadratic.
_BLOCKS = MarkdownIt("commonmark", {"maxNesting": MOST_NESTING}).disable(["inline", "reference"])

_IMAGE = re.compile(r"!\[[^\]\n]{0,200}\]\([^)\n]{0,500}\)")
_LINK = re.compile(r"\[([^\]\n]{0,200})\](?:\([^)\n]{0,500}\)|\[[^\]\n]{0,100}\])")
_HTML = re.compile(r"<!--.{0,1000}?-->|</?[a-z][^<>\n]{0,300}>", re.DOTALL)
_EMPHASIS = re.compile(r"\*{1,3}|~~|`+|(?<!\w)_{1,3}|_{1,3}(?!\w)")
_WHEN_HEADING = re.compile(
    r"\bwhen\b.{0,30}\b(?:us|apply|activat|invok|trigger|load|call|reach)|\buse\b.{0,20}\bwhen\b"
    r"|\bwhen\s+to\s*:?\s*$|\buse\s+cases?\b|\btriggers?\b|\bactivation\b"
    r"|使用场景|使用場景|适用场景|適用場景|触发|觸發|何时使用|何時使用|什么时候|使用時機|使うとき"
    r"|いつ使|利用シーン|사용 시기|cu[aá]ndo usar|quand utiliser|quando usar",
    re.IGNORECASE,
)
_NOT_HEADING = re.compile(r"\bnot\b|\bnever\b|\bavoid\b|n['’]t\b|\bnegative\b|不", re.IGNORECASE)
NOT_WHEN = re.compile(
    r"(?:\bnot|\bnever|n['’]t)\b(?:\s+\w{1,20})?[\s:*]+"
    r"(?:use|using|when|for|if|trigger|invoke|activate|apply)"
    r"|\bavoid\b|不适用|不適用|不要使用|不使用|请勿",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Body:
    """A parsed body; `when` holds list items under headings such as "When to use"."""

    text: str
    sections: tuple[Section, ...]
    code_blocks: tuple[CodeBlock, ...]
    paragraphs: tuple[str, ...]  # Markdown, outermost first
    when: tuple[str, ...]  # Markdown


def read(numbered: Numbered, findings: Findings, *, last: int) -> Body:
    """Parse the lines behind the frontmatter, each with its line in the file of `last` lines."""
    shown = [i for i, (_, line) in enumerate(numbered) if CONTROL.sub("", line).strip()]
    if not shown:
        findings.add("empty-body", "nothing follows the frontmatter", last)
        return Body("", (), (), (), ())
    numbered = numbered[shown[0] : shown[-1] + 1]
    lines = [CONTROL.sub("", line) for _, line in numbered]
    numbers = [number for number, _ in numbered]
    text = "\n".join(lines)
    if len(text) > MOST_CHARS:
        number = numbers[text.count("\n", 0, MOST_CHARS)]
        findings.add("oversize-body", f"structure is read up to {MOST_CHARS} characters", number)
    tokens = _BLOCKS.parse(text[:MOST_CHARS])
    _name_depth(tokens, numbers, findings)
    _name_conflict(lines, tokens, numbers, findings)
    return Body(
        text=text,
        sections=tuple(_sections(tokens, lines, numbers)),
        code_blocks=tuple(_code_blocks(tokens, numbers)),
        paragraphs=tuple(_paragraphs(tokens)),
        when=tuple(_when_items(tokens)),
    )


def plain(markdown: str) -> str:
    """Prose without links, images, tags and emphasis, on one line; reads 4,000 characters."""
    text = _LINK.sub(r"\1", _IMAGE.sub(" ", markdown[:4_000]))
    text = _EMPHASIS.sub("", _HTML.sub(" ", text))
    return " ".join(text.split())


def _sections(tokens: Sequence[Token], lines: list[str], numbers: list[int]) -> Iterator[Section]:
    heading, level, number, start = "", 0, numbers[0], 0
    for token, inline in pairwise(tokens):
        if token.type != "heading_open" or token.level or not token.map:
            continue
        text = "\n".join(lines[start : token.map[0]]).strip("\n")
        if level or text.strip():
            yield Section(heading=heading, level=level, text=text, line=number)
        heading, level = " ".join(inline.content.split()), int(token.tag[1])
        number, start = numbers[token.map[0]], token.map[1]
    text = "\n".join(lines[start:]).strip("\n")
    yield Section(heading=heading, level=level, text=text, line=number)


def _code_blocks(tokens: Sequence[Token], numbers: list[int]) -> Iterator[CodeBlock]:
    for token in tokens:
        if token.type in ("fence", "code_block") and token.map:
            language = (token.info.split() or [""])[0].lower()
            yield CodeBlock(language=language, text=token.content, line=numbers[token.map[0]])


def _paragraphs(tokens: Sequence[Token]) -> Iterator[str]:
    """Paragraph texts: those of the document itself, then those in lists and quotes."""
    nested = []
    for before, token in pairwise(tokens):
        if token.type == "inline" and before.type == "paragraph_open":
            if before.level == 0:
                yield token.content
            else:
                nested.append(token.content)
    yield from nested


def _when_items(tokens: Sequence[Token]) -> Iterator[str]:
    """First paragraphs of list items in sections that say when to use the skill."""
    level, wanted, lists = 0, False, 0
    for i, token in enumerate(tokens):
        if token.type == "list_item_open":
            lists += 1
        elif token.type == "list_item_close":
            lists -= 1
        elif token.type != "inline":
            continue
        elif tokens[i - 1].type == "heading_open":
            rank = int(tokens[i - 1].tag[1])
            if not wanted or rank <= level or _NOT_HEADING.search(token.content):
                level = rank
                wanted = _says_when(token.content)
        elif not lists:
            # A line such as "**Don't use it when:**" turns the list below it round.
            wanted = wanted and not NOT_WHEN.search(token.content)
        elif wanted and tokens[i - 2].type == "list_item_open":
            yield token.content


def _says_when(heading: str) -> bool:
    return bool(_WHEN_HEADING.search(heading)) and not _NOT_HEADING.search(heading)


def _name_depth(tokens: Sequence[Token], numbers: list[int], findings: Findings) -> None:
    deep = next((token for token in tokens if token.level >= MOST_NESTING - 1 and token.map), None)
    if deep and deep.map:
        detail = f"nested deeper than {MOST_NESTING}: what is inside is not looked at"
        findings.add("deep-markdown", detail, numbers[deep.map[0]])


def _name_conflict(
    lines: list[str], tokens: Sequence[Token], numbers: list[int], findings: Findings
) -> None:
    """Name conflict markers outside code blocks, where they are text about git."""
    marked = [i for i, line in enumerate(lines) if line.startswith("<<<<<<< ")]
    if not marked:
        return
    code = [token.map for token in tokens if token.type in ("fence", "code_block") and token.map]
    for i in marked[:20]:
        if not any(start <= i < end for start, end in code):
            findings.add("merge-conflict", "conflict markers in the body", numbers[i])
            return
