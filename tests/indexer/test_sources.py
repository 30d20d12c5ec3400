"""Sources: folder trees and JSON-lines dumps."""

from __future__ import annotations

import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pytest

from core.errors import SourceUnreadableError
from core.skill_format import parse
from indexer.package import Package, Unreadable
from indexer.sources import count_packages, open_source

ROW: dict[str, Any] = {
    "id": "acme/tools/skills/log-rotation",
    "license": "MIT",
    "lang": "en",
    "name": "log-rotation",
    "description": 'Rotates logs: "daily", weekly.\nUse when a disk fills up \U0001f4be',
    "frontmatter": {"version": "1.2", "tags": ["ops", "a: b"], "odd": "\x7f\x85\u2028"},
    "body": "# Do\n\nRun it.",
}


def skill(folder: Path, name: str, text: str = "---\nname: x\n---\nbody") -> Path:
    place = folder / name
    place.mkdir(parents=True)
    (place / "SKILL.md").write_text(text)
    return place


def only(found: list[Package | Unreadable]) -> Package:
    (package,) = found
    assert isinstance(package, Package)
    return package


def test_every_folder_with_a_skill_file_is_a_package_with_its_files(tmp_path: Path) -> None:
    place = skill(tmp_path, "ops/logs")
    (place / "scripts").mkdir()
    (place / "scripts" / "run.sh").write_text("echo")
    package = only(list(open_source(tmp_path, "a/b")))
    assert (package.catalogue, package.path) == ("a/b", "ops/logs")
    assert set(package.files) == {"SKILL.md", "scripts/run.sh"}


def test_a_skill_inside_a_skill_owns_its_own_files(tmp_path: Path) -> None:
    skill(tmp_path, "outer")
    skill(tmp_path, "outer/inner")
    outer, inner = open_source(tmp_path, "a/b")
    assert isinstance(outer, Package) and isinstance(inner, Package)
    assert set(outer.files) == set(inner.files) == {"SKILL.md"}


def test_hidden_folders_and_links_are_left_alone(tmp_path: Path) -> None:
    place = skill(tmp_path, "logs")
    skill(tmp_path, ".git/copy")
    (place / "passwords").symlink_to("/etc/passwd")
    (place / "elsewhere").symlink_to(tmp_path, target_is_directory=True)
    assert set(only(list(open_source(tmp_path, "a/b"))).files) == {"SKILL.md"}


def test_a_package_over_the_limits_is_reported_and_the_rest_goes_on(tmp_path: Path) -> None:
    place = skill(tmp_path, "big")
    for number in range(1_001):
        (place / f"{number}.txt").touch()
    skill(tmp_path, "small")
    big, small = open_source(tmp_path, "a/b")
    assert isinstance(big, Unreadable) and "1002 files" in big.reason
    assert isinstance(small, Package)


def test_a_folder_that_is_itself_a_skill_is_named_after_itself(tmp_path: Path) -> None:
    assert only(list(open_source(skill(tmp_path, "logs"), None))).path == "logs"


def test_a_folder_without_a_catalogue_is_local(tmp_path: Path) -> None:
    skill(tmp_path, "logs")
    assert only(list(open_source(tmp_path, None))).catalogue == f"local/{tmp_path.name}"


@pytest.mark.parametrize(
    ("name", "pack"),
    [("d.jsonl", bytes), ("d.jsonl.xz", lzma.compress), ("d.jsonl.gz", gzip.compress)],
)
def test_a_dump_row_becomes_a_package_that_parses_to_the_same(
    tmp_path: Path, name: str, pack: Any
) -> None:
    dump = tmp_path / name
    dump.write_bytes(pack(json.dumps(ROW).encode() + b"\n"))
    package = only(list(open_source(dump, None)))
    assert (package.catalogue, package.path) == ("acme/tools", "skills/log-rotation")
    assert (package.licence, package.language) == ("MIT", "en")
    draft = parse(package.files["SKILL.md"], fallback_name="x")
    assert draft.name == ROW["name"]
    assert draft.description.split() == ROW["description"].split()
    assert draft.tags == ("ops", "a: b")
    assert draft.body.strip() == ROW["body"]
    assert not [p for p in draft.problems if p.code == "yaml-error"]


def test_a_repository_that_is_itself_a_skill_has_an_empty_path(tmp_path: Path) -> None:
    dump = tmp_path / "dump.jsonl"
    dump.write_text(json.dumps(ROW | {"id": "acme/tools"}))
    package = only(list(open_source(dump, None)))
    assert (package.catalogue, package.path) == ("acme/tools", "")


def test_a_line_that_is_no_skill_row_is_reported_with_its_number(tmp_path: Path) -> None:
    dump = tmp_path / "dump.jsonl"
    dump.write_text(
        f"{json.dumps(ROW)}\nnot json\n{json.dumps({'id': 'a/b'})}\n{json.dumps(ROW)}\n"
    )
    found = list(open_source(dump, None))
    assert [type(each) for each in found] == [Package, Unreadable, Unreadable, Package]
    assert [each.path for each in found[1:3]] == ["line 2", "line 3"]


def test_a_damaged_dump_gives_what_came_before_and_then_a_clear_error(tmp_path: Path) -> None:
    packed = lzma.compress(
        "".join(json.dumps(ROW | {"body": str(i) * 99}) + "\n" for i in range(5_000)).encode()
    )
    dump = tmp_path / "torn.jsonl.xz"
    dump.write_bytes(packed[: len(packed) // 2])
    read = 0
    with pytest.raises(SourceUnreadableError, match="damaged"):
        for _ in open_source(dump, None):
            read += 1
    assert read > 0


def test_what_is_neither_folder_nor_dump_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadableError, match="neither"):
        open_source(tmp_path / "gone", None)


def test_a_dump_takes_no_catalogue(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").touch()
    with pytest.raises(SourceUnreadableError, match="--catalogue"):
        open_source(tmp_path / "d.jsonl", "a/b")


def test_packages_are_counted_for_the_progress_bar(tmp_path: Path) -> None:
    skill(tmp_path, "one")
    skill(tmp_path, "two")
    (tmp_path / "d.jsonl").write_text("{}\n{}\n{}\n")
    assert count_packages(tmp_path) == 2
    assert count_packages(tmp_path / "d.jsonl") == 3
