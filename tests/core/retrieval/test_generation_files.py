import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.errors import GenerationDamagedError, SpaceMismatchError
from core.retrieval.arms import TantivyArm, dense
from core.retrieval.delta import Delta
from core.retrieval.generation import (
    BUILDING_SUFFIX,
    MANIFEST_FILE,
    Generation,
    GenerationBuilder,
    Manifest,
)
from core.retrieval.view import View
from core.types import Filters, IndexRow, Space, Vectors

MakeRows = Callable[..., list[IndexRow]]
Publish = Callable[..., Generation]


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory,
    make_rows: MakeRows,
    publish: Publish,
    vectors: Callable[[int, int], Vectors],
) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "g"
    publish(make_rows(30), folder=folder, background_queries=vectors(1, 4))
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(whole, tmp_path / "g"))


def files(folder: Path) -> list[Path]:
    return [folder / MANIFEST_FILE, *(folder / name for name in Manifest.read(folder).files)]


def test_the_manifest_says_what_the_generation_holds(whole: Path, space: Space) -> None:
    manifest, generation = Manifest.read(whole), Generation.load(whole, space)
    assert (manifest.id, manifest.seq, manifest.rows) == ("g", 5, 30)
    assert (generation.id, generation.seq, len(generation.segment.rows)) == ("g", 5, 30)
    assert manifest.passages == generation.segment.rows.passage_starts[-1]
    assert "dense.faiss" in manifest.files
    assert not list(whole.rglob("*.lock"))


def test_loading_and_searching_leaves_the_folder_as_it_was(whole: Path, space: Space) -> None:
    def stamps() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (whole, *whole.rglob("*"))}

    before = stamps()
    generation = Generation.load(whole, space)
    view = View(generation, Delta.empty(generation))
    assert TantivyArm().search(view, "skill", Filters(), 5).hits
    assert stamps() == before


def test_any_flipped_byte_is_found(folder: Path, space: Space) -> None:
    for file in files(folder):
        content = file.read_bytes()
        for place in {0, len(content) // 2, len(content) - 1}:
            torn = bytearray(content)
            torn[place] ^= 0x01
            file.write_bytes(torn)
            with pytest.raises(GenerationDamagedError, match="--rebuild"):
                Generation.load(folder, space)
        file.write_bytes(content)
    Generation.load(folder, space)


def test_any_truncated_or_missing_file_is_found_by_name(folder: Path, space: Space) -> None:
    for file in files(folder):
        content = file.read_bytes()
        file.write_bytes(content[:-1])
        with pytest.raises(GenerationDamagedError, match=file.name):
            Generation.load(folder, space)
        file.unlink()
        with pytest.raises(GenerationDamagedError, match=file.name):
            Generation.load(folder, space)
        file.write_bytes(content)


def test_an_edited_manifest_is_found(folder: Path, space: Space) -> None:
    file = folder / MANIFEST_FILE
    file.write_text(file.read_text().replace('"seq": 5', '"seq": 6'))
    with pytest.raises(GenerationDamagedError, match="altered"):
        Generation.load(folder, space)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1, "files": []}', "null", "7"])
def test_a_manifest_of_another_shape_is_damage(folder: Path, space: Space, text: str) -> None:
    (folder / MANIFEST_FILE).write_text(text)
    with pytest.raises(GenerationDamagedError, match=MANIFEST_FILE):
        Generation.load(folder, space)


def test_another_format_is_refused_by_number(folder: Path, space: Space) -> None:
    file = folder / MANIFEST_FILE
    file.write_text(json.dumps({**json.loads(file.read_text()), "format": 99}))
    with pytest.raises(GenerationDamagedError, match="format 99"):
        Generation.load(folder, space)


def test_another_space_is_refused_naming_both(whole: Path, space: Space) -> None:
    other = replace(space, revision="2")
    with pytest.raises(SpaceMismatchError) as refusal:
        Generation.load(whole, other)
    assert space.id in refusal.value.detail
    assert other.id in refusal.value.detail


def test_a_generation_of_no_rows_can_be_published_and_extended(
    publish: Publish, make_rows: MakeRows, vectors: Callable[[int, int], Vectors]
) -> None:
    generation = publish([])
    view = View(generation, Delta.empty(generation).apply(make_rows(20), []))
    assert len(dense(view, vectors(1, 1)[0], Filters(), 5, threads=1)) == 5
    assert (
        TantivyArm().search(View(generation, Delta.empty(generation)), "x", Filters(), 5).hits == []
    )


def test_an_abandoned_build_leaves_nothing(
    tmp_path: Path, space: Space, make_rows: MakeRows, vectors: Callable[[int, int], Vectors]
) -> None:
    with GenerationBuilder(
        tmp_path / "g", id="g", space=space, seq=1, background_queries=vectors(0, 1)
    ) as builder:
        builder.add(make_rows(3))
        assert [path.name for path in tmp_path.iterdir()] == ["g" + BUILDING_SUFFIX]
    assert list(tmp_path.iterdir()) == []


def test_a_build_over_what_a_killed_one_left_succeeds(
    tmp_path: Path, make_rows: MakeRows, publish: Publish
) -> None:
    left = tmp_path / ("g" + BUILDING_SUFFIX)
    left.mkdir()
    (left / "dense.faiss").write_bytes(b"half")
    publish(make_rows(3), folder=tmp_path / "g")
    assert Manifest.read(tmp_path / "g").rows == 3
    assert [path.name for path in tmp_path.iterdir()] == ["g"]


def test_a_published_generation_is_never_overwritten(whole: Path, publish: Publish) -> None:
    before = (whole / MANIFEST_FILE).read_bytes()
    with pytest.raises(OSError, match="not empty"):
        publish([], folder=whole)
    assert (whole / MANIFEST_FILE).read_bytes() == before


def test_background_maxima_are_those_of_the_visible_catalogues(
    make_rows: MakeRows, publish: Publish, vectors: Callable[[int, int], Vectors]
) -> None:
    rows, queries = make_rows(60, seed=2), vectors(4, 6)
    generation = publish(rows[:40], background_queries=queries)
    view = View(generation, Delta.empty(generation).apply(rows[40:], []))
    filters = Filters(catalogues=("owner/c1", "owner/c2"))
    passages = [
        passage.vector.astype(np.float32)
        for row in rows
        if row.catalogue in filters.catalogues and row.routable and row.trust >= 1
        for passage in row.passages
    ]
    expected = (np.array(passages) @ queries.T).max(axis=0)
    assert view.background(filters) == pytest.approx(expected, abs=1e-3)
    assert not view.background(Filters(catalogues=("no/such",))).any()
