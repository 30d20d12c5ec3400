"""Format of SKILL.md: bytes to a SkillDraft with named problems, whatever the bytes are."""

from __future__ import annotations

import re

from core.skillmd import body as markdown
from core.skillmd import fields, frontmatter
from core.skillmd.body import Body
from core.skillmd.decoding import decode, visible
from core.skillmd.problems import PROBLEMS, Findings
from core.skillmd.triggers import triggers
from core.types import Section, SkillDraft

__all__ = ["PROBLEMS", "parse", "sections_of"]

_PARAGRAPH_BYTES = 30  # shorter ones are badges, labels and rules
_NO_PROSE = re.compile(r"^[|\[]|\{\{|\[TODO")  # tables and blanks that were never filled in


def parse(data: bytes, *, fallback_name: str) -> SkillDraft:
    """Read a SKILL.md; never raises on its content, whose first 2 MB count, in linear time.

    `fallback_name` is the name of the skill's folder: the name where the file states none, and
    what the specification wants the name to equal. Every oddity becomes a problem of PROBLEMS.
    """
    findings = Findings()
    folder = " ".join(visible(fallback_name).split()) or "unnamed"
    lines = decode(data, findings)
    front = frontmatter.read(lines, findings)
    body = markdown.read(front.body, findings, last=len(lines))

    entries = fields.by_key(front.entries, findings)
    name = fields.name(entries.get("name"), folder, findings, top=front.line)
    description = fields.description(entries.get("description"), findings, top=front.line)
    if front.example:
        entries, name, description = {}, folder, ""
    source = "frontmatter" if description else "body"
    description = description or _first_paragraph(body)
    fields.check_compatibility(entries, findings)

    return SkillDraft(
        name=name,
        description=description,
        description_source=source if description else "none",
        licence=fields.licence(entries, findings),
        frontmatter={} if front.example else front.values(),
        body=body.text,
        sections=body.sections,
        code_blocks=body.code_blocks,
        triggers=triggers(description, fields.values(entries), body.when),
        tags=fields.tags(entries),
        routable=not fields.is_hidden(entries),
        problems=findings.in_order(),
    )


def sections_of(body: str) -> tuple[Section, ...]:
    """The sections of a draft's body once more; their lines count from the first of the body."""
    lines = body.split("\n")
    return markdown.read(list(enumerate(lines, 1)), Findings(), last=len(lines)).sections


def _first_paragraph(body: Body) -> str:
    """The first paragraph that says something, else the first heading; "" if neither is there."""
    for paragraph in body.paragraphs:
        text = visible(markdown.plain(paragraph))
        says = len(text.encode()) >= _PARAGRAPH_BYTES and not text.endswith((":", "："))
        if says and not _NO_PROSE.search(text) and not fields.is_placeholder(text):
            return text[: fields.DESCRIPTION_CHARS].strip()
    headings = (visible(markdown.plain(section.heading)) for section in body.sections)
    return next((heading for heading in headings if heading), "")[: fields.DESCRIPTION_CHARS]
