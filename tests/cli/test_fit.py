"""`loadstar fit` as an operator runs it on a file of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reranker.load import OWN_RERANKER
from reranker.policy import load_policy
from tests.support import CATALOGUE, EXAMPLES


def loadstar(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments], capture_output=True, text=True, timeout=120
    )


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("fit") / "data")
    skills = str(EXAMPLES / "skills")
    done = loadstar("index", skills, "--catalogue", CATALOGUE, "--data-dir", folder)
    assert done.returncode == 0, done.stderr
    return folder


def own_file(path: Path, *, nulls: int, positives: int = 60) -> Path:
    tasks = [json.loads(line) for line in (EXAMPLES / "tasks.jsonl").read_text().splitlines()]
    named = [
        {"query": row["task"], "expected": f"{CATALOGUE}/{row['expected']}"}
        for row in tasks
        if row["expected"]
    ]
    none = [{"query": row["task"], "expected": None} for row in tasks if not row["expected"]]
    rows = [*named[:positives], *none[:nulls]]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def fitted(data_dir: str, folder: Path, **rows: int) -> Any:
    queries = own_file(folder / "own.jsonl", **rows)
    output = folder / "my-policy.json"
    done = loadstar(
        "fit", "--queries", str(queries), "--data-dir", data_dir, "--output", str(output), "--json"
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_own_rows_make_a_policy_that_serves_and_say_what_it_changed(
    data_dir: str, tmp_path: Path
) -> None:
    found = fitted(data_dir, tmp_path, nulls=20)
    policy = load_policy(tmp_path / "my-policy.json")
    assert policy.model_dump(mode="json") == found["policy"]
    scale = policy.scale(OWN_RERANKER)
    assert "140 rows: own" in scale.calibration and "own negative 20" in scale.negatives
    assert found["warnings"] == []
    assert found["before"]["rows"] == found["after"]["rows"] == 140
    assert found["after"]["balanced_accuracy"]["mean"] > 0.6
    assert 0.1 in [
        line["max_false_load"] for line in found["policy"]["scales"][OWN_RERANKER]["false_load"]
    ]


def test_too_few_null_rows_are_warned_of_in_words(data_dir: str, tmp_path: Path) -> None:
    (warning,) = fitted(data_dir, tmp_path, nulls=3)["warnings"]
    assert warning.startswith("3 rows expect null")


def test_the_text_ends_with_how_to_serve(data_dir: str, tmp_path: Path) -> None:
    queries, output = own_file(tmp_path / "own.jsonl", nulls=12), tmp_path / "p.json"
    done = loadstar(
        "fit", "--queries", str(queries), "--data-dir", data_dir, "--output", str(output)
    )
    assert done.stdout.strip().endswith(f"LOADSTAR_POLICY_FILE={output} loadstar serve")
    assert "before: balanced accuracy" in done.stdout and "after: balanced" in done.stdout


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ([], "settings_invalid"),
        (["--data", "x", "--queries", "y"], "settings_invalid"),
        (["--queries", "/no/such.jsonl"], "dataset_invalid"),
    ],
)
def test_an_error_is_one_line_with_its_code(
    data_dir: str, tmp_path: Path, options: list[str], code: str
) -> None:
    output = tmp_path / "p.json"
    done = loadstar("fit", *options, "--output", str(output), "--data-dir", data_dir)
    assert done.returncode == 1 and done.stderr.strip().endswith(f"[{code}]")
    assert not output.exists()


def test_a_handful_of_rows_is_refused(data_dir: str, tmp_path: Path) -> None:
    queries = own_file(tmp_path / "own.jsonl", nulls=2, positives=4)
    done = loadstar(
        "fit", "--queries", str(queries), "--data-dir", data_dir, "--output", str(tmp_path / "p")
    )
    assert done.returncode == 1 and "too few" in done.stderr


def test_help_shows_an_example_and_json() -> None:
    text = loadstar("fit", "--help").stdout
    assert "Example: loadstar fit" in text and "--json" in text and "--data-dir" in text
