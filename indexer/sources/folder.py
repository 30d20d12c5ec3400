"""Packages from a folder tree: every folder with a SKILL.md is one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from core.errors import PackageUnreadableError
from indexer.package import SKILL_FILE, Package, Unreadable, check_limits


def packages(root: Path, catalogue: str) -> Iterator[Package | Unreadable]:
    """Every package below `root` in path order; hidden folders and links are left alone.

    A package owns the files below its folder, down to the next folder with a SKILL.md.
    """
    for folder in _skill_folders(root):
        path = folder.relative_to(root).as_posix()
        if path == ".":
            path = root.resolve().name
        try:
            yield Package(catalogue=catalogue, path=path, files=_files(folder))
        except (PackageUnreadableError, OSError) as error:
            yield Unreadable(catalogue=catalogue, path=path, reason=str(error))


def count(root: Path) -> int:
    """How many packages there are below `root`."""
    return sum(1 for _ in _skill_folders(root))


def _is_skill_file(name: str) -> bool:
    return name.upper() == SKILL_FILE.upper()


def _skill_folders(root: Path) -> Iterator[Path]:
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        if any(_is_skill_file(name) for name in names):
            yield Path(folder)


def _files(folder: Path) -> dict[str, bytes]:
    paths: list[Path] = []
    for place, subfolders, names in os.walk(folder):
        inside = Path(place)
        subfolders[:] = sorted(
            name
            for name in subfolders
            if not name.startswith(".") and not _holds_skill(inside / name)
        )
        paths += [inside / name for name in sorted(names) if not (inside / name).is_symlink()]
    check_limits({path.relative_to(folder).as_posix(): path.stat().st_size for path in paths})
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def _holds_skill(folder: Path) -> bool:
    return any(_is_skill_file(entry.name) for entry in folder.iterdir())
