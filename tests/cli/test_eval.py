"""`loadstar eval` as a user runs it: own rows, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.evaluation.rows import write_lines
from tests.evaluation.small_folder import write_folder
from tests.support import CATALOGUE, EXAMPLES


def loadstar(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        env=os.environ | {"LOADSTAR_ENCODER": "hashing"} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two catalogues, one of them small."""
    folder = str(tmp_path_factory.mktemp("eval") / "data")
    for skills, catalogue in (("skills", CATALOGUE), ("skills/web", "acme/web")):
        done = loadstar(
            "index", str(EXAMPLES / skills), "--catalogue", catalogue, "--data-dir", folder
        )
        assert done.returncode == 0, done.stderr
    return folder


def own_rows(folder: Path) -> Path:
    tasks = [json.loads(line) for line in (EXAMPLES / "tasks.jsonl").read_text().splitlines()]
    rows = [
        {"query": row["task"], "expected": row["expected"] and f"{CATALOGUE}/{row['expected']}"}
        for row in tasks
    ]
    several = {
        "query": "merge the contracts, then fill in the form",
        "expected": [
            f"{CATALOGUE}/documents/pdf-merge-split",
            f"{CATALOGUE}/documents/pdf-form-filling",
        ],
    }
    return write_lines(folder / "own.jsonl", [*rows[:20], rows[-1], several])


def test_own_rows_are_evaluated_over_what_is_indexed(data_dir: str, tmp_path: Path) -> None:
    file, output = own_rows(tmp_path), tmp_path / "report"
    done = loadstar(
        "eval", "--queries", str(file), "--data-dir", data_dir, "--output", str(output), "--json"
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert {row["scope"] for row in found["retrieval"]} == {CATALOGUE, "pool"}
    assert found["provenance"]["command"].startswith("loadstar eval --queries")
    assert found["provenance"]["data"].keys() == {"own.jsonl"}
    needed = {part["part"] for part in found["parts"] if part["by"] == "needed"}
    assert needed == {"1 skill", "2 skills"}
    assert "reranked over pool" in done.stderr
    assert (output / "report.md").is_file() and (output / "report.json").is_file()


@pytest.mark.parametrize("both", [True, False])
def test_exactly_one_of_data_and_queries_is_needed(tmp_path: Path, both: bool) -> None:
    given = ("--data", str(tmp_path), "--queries", str(tmp_path)) if both else ()
    done = loadstar("eval", *given, "--data-dir", str(tmp_path / "data"))
    assert done.returncode == 1
    assert "either --data" in done.stderr and done.stderr.strip().endswith("[settings_invalid]")


def test_rows_of_another_split_are_refused_before_anything_is_indexed(tmp_path: Path) -> None:
    rows, data_dir = write_folder(tmp_path / "rows"), tmp_path / "data"
    done = loadstar("eval", "--data", str(rows), "--data-dir", str(data_dir))
    assert done.returncode == 1 and "[dataset_invalid]" in done.stderr
    assert not data_dir.exists()


def test_a_dump_is_never_indexed_into_a_database_of_the_operator(tmp_path: Path) -> None:
    done = loadstar("eval", "--data", str(tmp_path), "--database-url", "postgresql://x")
    assert done.returncode == 1 and "drop --database-url" in done.stderr


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"query": "x", "expected": "no/such/skill"}], "line 1: no skill 'no/such/skill'"),
        ([], "no rows"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(
    data_dir: str, tmp_path: Path, rows: list[object], said: str
) -> None:
    file = write_lines(tmp_path / "own.jsonl", rows)
    done = loadstar("eval", "--queries", str(file), "--data-dir", data_dir)
    assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr


def test_an_empty_data_folder_says_what_to_do(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "own.jsonl", [{"query": "x", "expected": None}])
    done = loadstar("eval", "--queries", str(file), "--data-dir", str(tmp_path / "data"))
    assert done.returncode == 1 and "loadstar index" in done.stderr
