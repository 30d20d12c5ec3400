"""Provenance of figures: the command, the code, the machine and the data they come from."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from evaluation.result import Provenance
from evaluation.systems import Bench
from evaluation.types import POOL

PROJECT = Path(__file__).resolve().parents[1]


def provenance(
    bench: Bench, *, command: str, files: Iterable[Path], split: str, split_checksum: str, pool: str
) -> Provenance:
    """Where the figures of an evaluation over `bench` come from, read off as it begins.

    Raises OSError where one of the data files cannot be read.
    """
    return Provenance(
        command=command,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=commit(),
        machine=machine(),
        data=checksums(files),
        split=split,
        split_checksum=split_checksum,
        skills=len(bench.rows_within(POOL)),
        pool=pool,
        space=bench.embedder.space.id,
        policy=bench.policy.id,
    )


def commit(project: Path = PROJECT) -> str:
    """The git commit of a project, with `-dirty` where its files differ from it.

    `unknown` where the project is no checkout of its own: an installed package, even one that
    lies inside another project's checkout.
    """
    if _git(project, "rev-parse", "--show-toplevel") != str(project.resolve()):
        return "unknown"
    described = ("describe", "--always", "--abbrev=40", "--exclude=*", "--dirty")
    return _git(project, *described) or "unknown"


def _git(project: Path, *arguments: str) -> str:
    """What git prints; "" where it is not installed or fails."""
    try:
        done = subprocess.run(
            ["git", "-C", str(project), *arguments], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def machine() -> dict[str, str]:
    """Processor, cores, memory, system and Python."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _processor() -> str:
    described = Path("/proc/cpuinfo")
    lines = described.read_text().splitlines() if described.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def checksums(files: Iterable[Path]) -> dict[str, str]:
    """sha256 by file name. Raises OSError where one cannot be read."""
    return {file.name: _sha256(file) for file in files}


def _sha256(file: Path) -> str:
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()
