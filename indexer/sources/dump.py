"""Packages from a JSON-lines dump (`.jsonl`, `.jsonl.xz`, `.jsonl.gz`), one skill a line.

A line holds `id` (`owner/repo/path…`), `name`, `description`, `frontmatter` and `body`, and may
hold `license` and `lang`. The SKILL.md is put together from them, always to the same bytes.
"""

from __future__ import annotations

import gzip
import json
import lzma
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from core.errors import SourceUnreadableError
from indexer.package import SKILL_FILE, Package, Unreadable

# JSON leaves these raw; YAML forbids them, or takes them for line breaks.
_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")


def packages(dump: Path) -> Iterator[Package | Unreadable]:
    """Every line's package, in order; a line that cannot be read is reported with its number."""
    with _open(dump) as lines:
        for number, line in enumerate(_whole_lines(lines, dump), start=1):
            try:
                yield _package(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                reason = f"not a skill row: {type(error).__name__}: {error}"
                yield Unreadable(catalogue=dump.name, path=f"line {number}", reason=reason)


def count(dump: Path) -> int:
    """How many lines the dump has."""
    with _open(dump) as lines:
        return sum(1 for _ in _whole_lines(lines, dump))


def _open(dump: Path) -> IO[bytes]:
    if dump.suffix == ".xz":
        return lzma.open(dump)
    if dump.suffix == ".gz":
        return cast(IO[bytes], gzip.open(dump))
    return dump.open("rb")


def _whole_lines(lines: IO[bytes], dump: Path) -> Iterator[bytes]:
    try:
        yield from lines
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise SourceUnreadableError(
            f"{dump} is damaged: {error}. What came before it is kept; fetch the file again and "
            "run the same command."
        ) from error


def _package(row: dict[str, Any]) -> Package:
    owner, repository, *rest = row["id"].split("/", 2)
    return Package(
        catalogue=f"{owner}/{repository}",
        path=rest[0] if rest else "",  # a repository that is itself a skill
        files={SKILL_FILE: _skill_file(row)},
        licence=row.get("license"),
        language=row.get("lang"),
    )


def _skill_file(row: dict[str, Any]) -> bytes:
    """The row as SKILL.md: each frontmatter value as JSON, which is YAML in flow style."""
    fields = {"name": row["name"], "description": row["description"], **row["frontmatter"]}
    lines = [f"{_json(key)}: {_json(value)}" for key, value in fields.items() if value is not None]
    return "\n".join(["---", *lines, "---", row["body"]]).encode("utf-8", "surrogatepass")


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return _NOT_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
