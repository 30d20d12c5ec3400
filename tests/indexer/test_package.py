"""Reading packages: digests, limits, signatures, languages."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.embedding import HashingEmbedder
from core.errors import PackageUnreadableError
from core.minhash import signature
from indexer.catalog import PreparedSkill
from indexer.package import (
    MAX_FILE_BYTES,
    MAX_FILES,
    Package,
    Unreadable,
    check_limits,
    language,
    prepare,
    read,
)

SKILL = b"""---
name: log-rotation
description: Rotates logs. Use when a disk fills up.
---
# Do
Run it.
"""


def package(files: dict[str, bytes] | None = None, **more: str) -> Package:
    return Package(
        catalogue="a/b", path="ops/log-rotation", files=files or {"SKILL.md": SKILL}, **more
    )


def prepared(one: Package) -> PreparedSkill:
    (skill,) = prepare([one], HashingEmbedder().count_tokens)
    assert isinstance(skill, PreparedSkill)
    return skill


@given(
    st.dictionaries(st.text("abc/.", min_size=1, max_size=6), st.binary(max_size=20), min_size=2)
)
def test_the_digest_depends_on_the_files_and_not_on_their_order(files: dict[str, bytes]) -> None:
    backwards = dict(reversed(files.items()))
    assert package(files).digest == package(backwards).digest
    first = next(iter(files))
    assert package(files | {first: files[first] + b"x"}).digest != package(files).digest


def test_what_the_source_says_is_part_of_the_derivation() -> None:
    assert package(licence="MIT").derivation != package().derivation


def test_a_skill_file_is_found_whatever_its_case() -> None:
    draft, _ = read(package({"skill.md": SKILL}))
    assert draft.name == "log-rotation"


def test_a_package_without_a_skill_file_is_reported_and_the_rest_goes_on() -> None:
    broken, whole = prepare(
        [package({"README.md": b"hi"}), package()], HashingEmbedder().count_tokens
    )
    assert isinstance(broken, Unreadable) and broken.reason == "no SKILL.md"
    assert isinstance(whole, PreparedSkill)


def test_a_path_that_no_database_can_index_is_refused() -> None:
    with pytest.raises(PackageUnreadableError, match="path"):
        read(Package(catalogue="a/b", path="x" * 1_025, files={"SKILL.md": SKILL}))


def test_the_packages_own_licence_comes_before_the_sources() -> None:
    own = SKILL.replace(b"---\n#", b"license: ISC\n---\n#")
    assert prepared(package({"SKILL.md": own}, licence="MIT")).licence == "ISC"
    assert prepared(package(licence="MIT")).licence == "MIT"


def test_tokens_are_counted_per_level_and_binaries_are_not_read() -> None:
    files = {"SKILL.md": SKILL, "notes.md": b"one two three", "logo.png": b"\x89PNG\0\xff"}
    tokens = prepared(package(files)).tokens
    assert (tokens.body, tokens.files) == (3, 3)
    assert tokens.routing == 10


@pytest.mark.parametrize(
    ("sizes", "named"),
    [
        ({f"f{i}": 1 for i in range(MAX_FILES + 1)}, "files"),
        ({"video.mp4": MAX_FILE_BYTES + 1}, "video.mp4"),
        ({f"f{i}": MAX_FILE_BYTES for i in range(6)}, "in all"),
    ],
)
def test_a_package_beyond_every_bound_is_refused_by_name(sizes: dict[str, int], named: str) -> None:
    with pytest.raises(PackageUnreadableError, match=named):
        check_limits(sizes)


def test_signatures_agree_as_the_texts_do() -> None:
    text = " ".join(f"step {i} does thing {i * 7}" for i in range(60))
    same = signature(text.upper().replace(" ", "\n"))
    near = signature(text.replace("step 9 ", "stage 9 "))
    other = signature(" ".join(f"other words {i * 3} here" for i in range(60)))
    mine = signature(text)
    assert np.array_equal(mine, same)
    assert np.mean(mine == near) > 0.8 > 0.2 > np.mean(mine == other)


def test_an_empty_body_has_a_signature_of_its_own() -> None:
    assert np.array_equal(signature(""), signature("  \n"))
    assert not np.array_equal(signature(""), signature("some words are here"))


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("Rotates and compresses the log files of a busy web server.", "en"),
        ("Rechnungen prüfen und mit den Bestellungen abgleichen, bevor sie bezahlt werden.", "de"),
        ("核对发票和采购订单，找出金额不一致的项目。", "zh"),
    ],
)
def test_the_language_is_read_from_the_text(description: str, expected: str) -> None:
    data = f"---\nname: x-y\ndescription: {description}\n---\n".encode()
    assert language(read(package({"SKILL.md": data}))[0]) == expected
