"""Where skill packages come from: `open_source` picks the reader by what the path is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from core.errors import SourceUnreadableError
from indexer.package import Package, Unreadable
from indexer.sources import dump, folder


def open_source(path: Path, catalogue: str | None) -> Iterator[Package | Unreadable]:
    """The packages of a folder tree or of a JSON-lines dump.

    `catalogue` (`owner/name`) names a folder's catalogue, `local/<folder>` by default; a dump's
    rows carry their own. Raises SourceUnreadableError where `path` is neither.
    """
    if path.is_dir():
        return folder.packages(path, catalogue or f"local/{path.resolve().name}")
    if path.is_file() and ".jsonl" in path.suffixes:
        if catalogue is not None:
            raise SourceUnreadableError("A dump's rows name their own catalogue: drop --catalogue.")
        return dump.packages(path)
    raise SourceUnreadableError(
        f"{path} is neither a folder nor a .jsonl, .jsonl.xz or .jsonl.gz file."
    )


def count_packages(path: Path) -> int:
    """How many packages a source that can be opened holds, for a progress bar."""
    return folder.count(path) if path.is_dir() else dump.count(path)
