"""Search text files under a folder for strings shaped like credentials; prints no full value."""

import argparse
import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

SHAPES = {
    "AWS access key id": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "GitHub token": re.compile(r"\bgh[pousr]_[A-Za-z0-9]{36,}\b"),
    "Slack token": re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}"),
    "private key": re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
    "assigned secret": re.compile(
        r"(?i)(?:secret|token|passw(?:or)?d|api[_-]?key)\s*[:=]\s*[\"']([^\"'\s]{16,})[\"']"
    ),
}
SKIPPED = {".git", "node_modules", ".venv", "__pycache__"}
MAX_BYTES = 2_000_000
MIN_ENTROPY_BITS = 3.0  # a letter; words lie below, random strings above


def entropy(text: str) -> float:
    """Shannon entropy in bits per letter."""
    shares = (count / len(text) for count in Counter(text).values())
    return -sum(share * math.log2(share) for share in shares)


def masked(value: str) -> str:
    return value[:4] + "…" + f"({len(value)} characters)"


def findings(text: str) -> Iterator[tuple[int, str, str]]:
    """Line number, kind and masked value of everything that looks like a credential."""
    for number, line in enumerate(text.splitlines(), start=1):
        for kind, pattern in SHAPES.items():
            for match in pattern.finditer(line):
                value = match.group(match.lastindex or 0)
                if kind != "assigned secret" or entropy(value) >= MIN_ENTROPY_BITS:
                    yield number, kind, masked(value)


def text_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        wanted = path.is_file() and not path.is_symlink() and not SKIPPED & set(path.parts)
        if wanted and path.stat().st_size <= MAX_BYTES:
            yield path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    count = 0
    for path in text_files(parser.parse_args().folder):
        for line, kind, value in findings(path.read_text(encoding="utf-8", errors="replace")):
            count += 1
            print(f"{path}:{line}: {kind} {value}")
    raise SystemExit(1 if count else 0)


if __name__ == "__main__":
    main()
