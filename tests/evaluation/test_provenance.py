"""Provenance: the commit, the machine and the checksums are those of what was used."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from evaluation.provenance import checksums, commit, machine


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "file").write_text("one")
    git(folder, "init", "--quiet")
    git(folder, "add", "file")
    git(folder, "commit", "--quiet", "--message", "one")
    return folder


def test_a_clean_checkout_gives_its_commit_and_a_changed_one_says_so(checkout: Path) -> None:
    head = git(checkout, "rev-parse", "HEAD")
    assert commit(checkout) == head
    (checkout / "report.md").write_text("a file of no commit changes no figure")
    assert commit(checkout) == head
    (checkout / "file").write_text("two")
    assert commit(checkout) == f"{head}-dirty"


def test_a_tag_does_not_stand_in_for_the_commit(checkout: Path) -> None:
    git(checkout, "tag", "--annotate", "v1", "--message", "v1")
    assert commit(checkout) == git(checkout, "rev-parse", "HEAD")


def test_what_is_no_checkout_of_its_own_has_no_known_commit(checkout: Path, tmp_path: Path) -> None:
    installed = checkout / "site-packages"
    installed.mkdir()
    assert commit(installed) == "unknown"
    assert commit(tmp_path) == "unknown"


def test_a_checksum_is_that_of_the_whole_file(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b"x" * 3_000_000)
    assert checksums([file]) == {"rows.jsonl": hashlib.sha256(b"x" * 3_000_000).hexdigest()}


def test_the_machine_is_described_in_full() -> None:
    found = machine()
    assert found.keys() == {"processor", "cores", "memory", "system", "python"}
    assert all(found.values()) and int(found["cores"]) >= 1
