"""Malformed SKILL.md files: does the parser name every problem that their index names?"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from core.skill_format import parse

EXAMPLE = """example:
  python -m benchmarks.malformed data/malformed
  python -m benchmarks.malformed data/malformed --json

DIR/index.jsonl has one object a line: `file`, `kind`, `path` (its folder is the skill's) and
`problems`, each a problem code, perhaps with a suffix behind a colon. Exits 1 where a file
cannot be parsed or an expected problem is not named."""

# Codes that speak of how a row was collected, not of what its bytes show.
NOT_IN_THE_BYTES = {"description-lost-by-aggregator", "body-truncated"}

# The index was made by another tool; these are the codes where it saw what is not there.
EXCEPTIONS = {
    "021.md": ({"unclosed-frontmatter"}, "`---` directly below `---` closes it: it is empty"),
    "022.md": ({"unclosed-frontmatter"}, "as 021.md"),
    "064.md": ({"unclosed-frontmatter"}, "as 021.md"),
    "036.md": (
        {"name-mismatch", "name-not-spec"},
        "`name: yes` is read as the text `yes`, which is valid and the folder's name",
    ),
    "060.md": ({"placeholder-description"}, "a real description that speaks of `TODO markers`"),
    "061.md": ({"placeholder-description"}, "a real description that speaks of `TODO-driven`"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One file: what the index expects of it, and what the parser says."""

    file: str
    kind: str
    expected: list[str]
    found: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)  # expected, neither found nor excused
    excused: list[str] = field(default_factory=list)
    error: str | None = None
    name: str = ""
    description: str = ""
    description_source: str = "none"

    @property
    def is_ok(self) -> bool:
        """Parsed, with every expected problem named or excused."""
        return not (self.error or self.missing)


def check(folder: Path) -> list[Result]:
    """Parse every file that the index lists."""
    rows = (folder / "index.jsonl").read_text(encoding="utf-8").splitlines()
    return [_check_one(folder, json.loads(row)) for row in rows]


def _check_one(folder: Path, row: dict[str, Any]) -> Result:
    file, kind = row["file"], row["kind"]
    expected = [problem.split(":")[0] for problem in row["problems"]]
    try:
        data = (folder / file).read_bytes()
        draft = parse(data, fallback_name=PurePosixPath(row["path"]).parent.name)
    except Exception as error:  # noqa: BLE001 - a crash is what this looks for
        return Result(file=file, kind=kind, expected=expected, missing=expected, error=repr(error))
    found = list(dict.fromkeys(problem.code for problem in draft.problems))
    unseen = [code for code in expected if code not in found]
    codes, _ = EXCEPTIONS.get(file, (set(), ""))
    return Result(
        file=file,
        kind=kind,
        expected=expected,
        found=found,
        missing=[code for code in unseen if code not in codes | NOT_IN_THE_BYTES],
        excused=[code for code in unseen if code in codes | NOT_IN_THE_BYTES],
        name=draft.name,
        description=draft.description,
        description_source=draft.description_source,
    )


def _line(result: Result) -> str:
    verdict = "ok" if result.is_ok else f"MISSING {','.join(result.missing)}"
    description = " ".join(result.description.split())[:60]
    return "  ".join(
        [
            f"{result.file:7} {result.kind[:28]:28}",
            f"expected {','.join(result.expected)}",
            f"found {','.join(result.found)}",
            result.error or verdict,
            f"{result.name[:40]}: {description} ({result.description_source})",
        ]
    )


def main() -> int:
    """Print a line for each file, or JSON; 1 where anything is missing."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.malformed",
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="files and their index.jsonl")
    parser.add_argument("--json", action="store_true", help="print one JSON array")
    arguments = parser.parse_args()
    if not (arguments.folder / "index.jsonl").is_file():
        parser.error(f"{arguments.folder} has no index.jsonl")

    results = check(arguments.folder)
    if arguments.json:
        rows = [{**asdict(result), "ok": result.is_ok} for result in results]
        sys.stdout.write(json.dumps(rows, ensure_ascii=False, indent=1) + "\n")
    else:
        sys.stdout.writelines(f"{_line(result)}\n" for result in results)
        excused = [result for result in results if result.excused]
        for result in excused:
            _, why = EXCEPTIONS.get(result.file, (set(), "not in the bytes"))
            sys.stdout.write(f"excused {result.file} {','.join(result.excused)}: {why}\n")
        good = sum(result.is_ok for result in results)
        sys.stdout.write(f"{good} of {len(results)} files ok, {len(excused)} with an exception\n")
    return 0 if all(result.is_ok for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
