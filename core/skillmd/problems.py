"""The problems a SKILL.md can have: every code with its severity, and their collector."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

from core.types import Problem, Severity

INFO, WARNING, ERROR = Severity.INFO, Severity.WARNING, Severity.ERROR

PROBLEMS: Mapping[str, Severity] = MappingProxyType(
    {
        # the bytes
        "bom": INFO,
        "crlf": INFO,
        "not-utf8": WARNING,
        "oversize": ERROR,
        "nul-chars": WARNING,
        "control-chars": WARNING,
        "bidi-chars": WARNING,
        "zero-width-chars": WARNING,
        "tag-chars": WARNING,
        # where the frontmatter stands
        "leading-blank": INFO,
        "comment-before-frontmatter": INFO,
        "fenced-file": INFO,
        "frontmatter-not-first": WARNING,
        "no-frontmatter": WARNING,
        "empty-frontmatter": WARNING,
        "no-opening-fence": WARNING,
        "unclosed-frontmatter": WARNING,
        "odd-fence": WARNING,
        "one-line-frontmatter": WARNING,
        "multiple-documents": WARNING,
        "oversize-frontmatter": ERROR,
        # its YAML
        "yaml-error": WARNING,
        "yaml-too-complex": WARNING,
        "frontmatter-not-mapping": WARNING,
        "duplicate-keys": WARNING,
        "key-case": WARNING,
        "merge-conflict": WARNING,
        "unparsed-value": WARNING,
        "stray-text": ERROR,
        # its fields
        "no-name": WARNING,
        "name-not-string": WARNING,
        "name-not-spec": WARNING,
        "name-mismatch": WARNING,
        "placeholder-name": WARNING,
        "no-description": WARNING,
        "empty-description": WARNING,
        "description-not-string": WARNING,
        "placeholder-description": WARNING,
        "description-too-long": WARNING,
        "field-not-string": WARNING,
        "compatibility-too-long": WARNING,
        # the body
        "empty-body": WARNING,
        "oversize-body": WARNING,
        "deep-markdown": WARNING,
    }
)

MOST_OF_ONE_CODE = 10  # a hostile file must not make a report longer than itself
DETAIL_CHARS = 200


class Findings:
    """Collects problems while a file is read; lines count from 1."""

    def __init__(self) -> None:
        self._problems: list[Problem] = []
        self._count: Counter[str] = Counter()

    def add(self, code: str, detail: str, line: int | None = None) -> None:
        """Note a problem; past MOST_OF_ONE_CODE of its code it is dropped."""
        self._count[code] += 1
        if self._count[code] > MOST_OF_ONE_CODE:
            return
        problem = Problem(
            code=code, severity=PROBLEMS[code], detail=detail[:DETAIL_CHARS], line=line
        )
        self._problems.append(problem)

    def has(self, code: str) -> bool:
        """Whether a problem of this code was noted."""
        return code in self._count

    def in_order(self) -> tuple[Problem, ...]:
        """All problems by line, those of the whole file first."""
        return tuple(sorted(self._problems, key=lambda problem: problem.line or 0))
