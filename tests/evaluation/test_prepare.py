"""Preparation over a small folder of the same form: what is checked, indexed and left out."""

from __future__ import annotations

import json
import lzma
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.settings import AppSettings
from evaluation.datasets import METATOOL, DatasetError, read_labelled, read_skills
from evaluation.main import evaluate_data
from evaluation.prepare import (
    PoolName,
    Prepared,
    index_pool,
    labelled_material,
    own_material,
    read_verified,
)
from evaluation.split import summary
from evaluation.systems import open_bench
from evaluation.types import POOL, Split
from indexer.ingest import Report
from indexer.settings import IndexerSettings
from tests.evaluation.rows import a_skill, write_lines
from tests.evaluation.small_folder import FIRST, SECOND, SETS, STRAY, TOOL, write_folder
from tests.support import index_folder

APART = frozenset({METATOOL})


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    return reading(write_folder(tmp_path / "rows"))


def reading(folder: Path, pool: PoolName = "full") -> Prepared:
    """The folder, with its own split for the committed one."""
    return read_verified(folder, pool, own_split(folder))


def own_split(folder: Path) -> dict[str, Any]:
    labelled = read_labelled(folder, read_skills(folder))
    found: dict[str, Any] = summary(labelled.sources, labelled.assignment)
    return found


async def indexed(prepared: Prepared, data_dir: Path) -> Report:
    settings = IndexerSettings(data_dir=data_dir, encoder="hashing")
    return await index_pool(prepared, settings, on_progress=lambda *_: None)


def serving(data_dir: Path) -> AppSettings:
    return AppSettings(data_dir=data_dir, encoder="hashing")


def test_rows_that_fall_into_another_split_are_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    committed = own_split(folder)
    rows = [json.loads(line) for line in (folder / "trigger_evals.jsonl").read_text().splitlines()]
    write_lines(folder / "trigger_evals.jsonl", rows * 2)
    with pytest.raises(DatasetError, match="committed split"):
        read_verified(folder, "full", committed)


def test_a_folder_that_lacks_a_file_is_refused_by_its_name(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    (folder / "metatool_tools.jsonl").unlink()
    with pytest.raises(DatasetError, match=r"lacks metatool_tools\.jsonl"):
        read_verified(folder, "full", {"checksum": ""})


async def test_a_second_run_finds_everything_unchanged(prepared: Prepared, tmp_path: Path) -> None:
    first = await indexed(prepared, tmp_path / "index")
    assert first.published == len(prepared.places) + 2 and first.texts_embedded > 0
    again = await indexed(prepared, tmp_path / "index")
    assert (again.published, again.texts_embedded) == (0, 0)
    assert again.unchanged == first.published


async def test_a_pool_that_is_not_the_whole_dump_is_indexed_alone(
    prepared: Prepared, tmp_path: Path
) -> None:
    some = replace(prepared, places=frozenset(p for p in prepared.places if FIRST in p))
    await indexed(some, tmp_path / "index")
    async with open_bench(serving(tmp_path / "index"), apart=APART) as bench:
        material = labelled_material(bench, some, Split.TEST)
        assert {bench.places[row] for row in bench.rows_within(POOL)} == some.places
    assert material.whole == {FIRST}
    assert {query.catalogue for query in material.queries if query.relevant} <= {FIRST, METATOOL}
    assert "their skills are not indexed" in material.notes[0]


async def test_the_pool_does_not_see_the_tools_but_their_catalogue_does(
    prepared: Prepared, tmp_path: Path
) -> None:
    await indexed(prepared, tmp_path / "index")
    async with open_bench(serving(tmp_path / "index"), apart=APART) as bench:
        task = "forecasts for any place"
        for system in (bench.lexical(POOL), bench.dense(POOL), bench.reranked(POOL)):
            assert not any(METATOOL in place for place in (await system.answer(task)).places)
        assert bench.parts.follower.snapshot.view.known_catalogues >= {METATOOL}
        assert bench.places[bench.rows[TOOL]] == TOOL


async def test_an_index_with_other_skills_is_refused(prepared: Prepared, tmp_path: Path) -> None:
    await indexed(prepared, tmp_path / "index")
    fewer = replace(prepared, places=prepared.places - {f"{STRAY}/other"})
    async with open_bench(serving(tmp_path / "index"), apart=APART) as bench:
        with pytest.raises(DatasetError, match=f"such as '{STRAY}/other'"):
            labelled_material(bench, fewer, Split.TEST)


async def test_the_whole_evaluation_weighs_the_arms_without_the_catalogue_it_judges(
    prepared: Prepared, tmp_path: Path
) -> None:
    await indexed(prepared, tmp_path / "index")
    found = await evaluate_data(
        prepared,
        Split.TEST,
        serving(tmp_path / "index"),
        command="loadstar eval",
        on_step=lambda _: None,
    )
    assert found.provenance.skills == len(prepared.places)
    assert found.provenance.data.keys() == {file.name for file in prepared.files}
    loco = [row for row in found.retrieval if row.system == "fused-loco"]
    assert {(row.source, row.scope) for row in loco} == {(SETS[c], c) for c in (FIRST, SECOND)}
    assert sum("fitted on" in note for note in found.notes) == 2
    assert {row.standing for row in found.retrieval} >= {"unnamed", "main"}
    reported = [query for query in prepared.labelled.queries if query.split is Split.TEST]
    weak = {query.source for query in reported if query.weak_positive}
    assert {row.source for row in found.retrieval if row.standing == "weak_positive"} == weak
    assert not any("metatool" in row.source for row in found.retrieval)


async def test_own_rows_take_several_catalogues_null_and_several_skills(
    tmp_path: Path, database_url: str
) -> None:
    settings = IndexerSettings(data_dir=tmp_path, database_url=database_url, encoder="hashing")
    for catalogue in (FIRST, SECOND):
        for name in ("a", "b"):
            folder = tmp_path / catalogue / name
            folder.mkdir(parents=True)
            (folder / "SKILL.md").write_text(f"---\nname: {name}\ndescription: does {name}\n---\n")
        await index_folder(settings, tmp_path / catalogue, catalogue)
    rows = [
        {"query": "one", "expected": f"{FIRST}/a"},
        {"query": "twin", "expected": f"{SECOND}/a"},
        {"query": "both", "expected": [f"{FIRST}/b", f"{SECOND}/a"]},
        {"query": "nothing", "expected": None},
    ]
    file = write_lines(tmp_path / "own.jsonl", rows)
    serving = AppSettings(data_dir=tmp_path, database_url=database_url, encoder="hashing")
    async with open_bench(serving) as bench:
        material = await own_material(bench, file)
    assert material.whole == {FIRST, SECOND} and material.labelled is None
    assert [query.catalogue for query in material.queries] == [FIRST, SECOND, None, None]
    one, twin, both, nothing = (query.qid for query in material.queries)
    assert material.twins[f"{FIRST}/a"] == material.twins[f"{SECOND}/a"]  # the same files
    assert material.twins[f"{FIRST}/a"] != material.twins[f"{FIRST}/b"]
    assert material.clusters[one] == material.clusters[twin] == material.clusters[both]
    assert material.clusters[one] != material.clusters[nothing]


async def test_own_rows_over_an_empty_index_are_refused(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "own.jsonl", [{"query": "one", "expected": None}])
    async with open_bench(serving(tmp_path / "index")) as bench:
        with pytest.raises(DatasetError, match="loadstar index"):
            await own_material(bench, file)


def test_the_quick_pool_keeps_the_catalogues_of_whole_sets(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    rows = [a_skill(f"acme/first/extra-{n}") for n in range(5)]
    rows += [a_skill(f"filler/f{n % 50}/s{n}") for n in range(20_100)]
    dump = [json.loads(line) for line in _lines(folder / "skills.jsonl.xz")]
    write_lines(folder / "skills.jsonl.xz", [*dump, *rows])
    pool = reading(folder, "quick").places
    assert len(pool) == 20_000
    assert {f"acme/first/extra-{n}" for n in range(5)} <= pool


def _lines(file: Path) -> list[str]:
    return lzma.decompress(file.read_bytes()).decode().splitlines()
