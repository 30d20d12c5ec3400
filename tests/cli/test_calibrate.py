"""`loadstar calibrate` as an operator runs it on one of their catalogues."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from reranker.policy import EVERYTHING, FALLBACK, SHIPPED, load_policy
from tests.evaluation.rows import write_lines
from tests.support import EXAMPLES

WEB, MEDIA = "acme/web", "acme/media"


def loadstar(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        env=os.environ | {"LOADSTAR_ENCODER": "hashing", "LOADSTAR_RERANKER": FALLBACK},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("calibrate") / "data")
    for catalogue in (WEB, MEDIA):
        skills = str(EXAMPLES / "skills" / catalogue.split("/")[1])
        done = loadstar("index", skills, "--catalogue", catalogue, "--data-dir", folder)
        assert done.returncode == 0, done.stderr
    return folder


def calibrate(
    data_dir: str | Path, output: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    return loadstar(
        "calibrate", *arguments, "--data-dir", str(data_dir), "--output", str(output)
    )  # fmt: skip


def test_the_text_says_where_what_from_and_how_to_serve(data_dir: str, tmp_path: Path) -> None:
    output = tmp_path / "my-policy.json"
    done = calibrate(data_dir, output, "--catalogue", WEB)
    assert done.returncode == 0, done.stderr
    policy = load_policy(output)
    own = policy.scale(FALLBACK).catalogues[WEB]
    head, rests, loads, written = done.stdout.strip().splitlines()
    assert head == f"{policy.id}: promises for tasks routed over {WEB}"
    assert rests == f"scored by {FALLBACK}: {own.calibration}"
    least = policy.scale(FALLBACK).load
    strictest = own.false_load[0]
    bar = max(least, strictest.threshold)
    assert loads.strip().startswith(
        f"loads from {least:.3f}; with max_false_load={strictest.max_false_load:g} from {bar:.3f}"
    )
    assert written.endswith(f"LOADSTAR_POLICY_FILE={output} loadstar serve")
    assert f"decisions over {WEB}" in done.stderr


def test_as_json_it_is_the_policy_that_was_written(data_dir: str, tmp_path: Path) -> None:
    output = tmp_path / "my-policy.json"
    done = calibrate(data_dir, output, "--json")
    found = json.loads(done.stdout)
    assert (found["catalogue"], found["written"]) == (EVERYTHING, str(output))
    assert found["policy"] == load_policy(output).model_dump(mode="json")
    held = found["policy"]["scales"][FALLBACK]["catalogues"]
    assert held.keys() == {EVERYTHING} and "own skills" in held[EVERYTHING]["negatives"]


def test_a_calibration_starts_from_the_policy_that_is_named(data_dir: str, tmp_path: Path) -> None:
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    calibrate(data_dir, first, "--catalogue", WEB, "--policy-file", str(SHIPPED))
    calibrate(data_dir, second, "--catalogue", MEDIA, "--policy-file", str(first))
    assert load_policy(second).scale(FALLBACK).catalogues.keys() == {WEB, MEDIA}


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--catalogue", "no/such"], "not_found"),
        (["--queries", "/no/such.jsonl"], "dataset_invalid"),
        (["--policy-file", "/no/such.json"], "model_missing"),
    ],
)
def test_an_error_is_one_line_with_its_code(
    data_dir: str, tmp_path: Path, options: list[str], code: str
) -> None:
    output = tmp_path / "p.json"
    done = calibrate(data_dir, output, *options)
    *steps, error = done.stderr.strip().splitlines()
    assert done.returncode == 1 and error.endswith(f"[{code}]")
    assert not any("Traceback" in step or "[" in step for step in steps)
    assert not output.exists()


def test_a_handful_of_rows_is_refused(data_dir: str, tmp_path: Path) -> None:
    rows = [{"query": f"thanks, that is {n}", "expected": None} for n in range(49)]
    file, output = write_lines(tmp_path / "own.jsonl", rows), tmp_path / "p.json"
    done = calibrate(data_dir, output, "--catalogue", WEB, "--queries", str(file))
    assert done.returncode == 1 and "50 or more" in done.stderr and not output.exists()
    assert done.stderr.strip().endswith("[dataset_invalid]")


def test_an_empty_index_says_what_to_do(tmp_path: Path) -> None:
    output = tmp_path / "p.json"
    done = calibrate(tmp_path / "data", output)
    assert done.returncode == 1 and "loadstar index" in done.stderr and not output.exists()
    assert done.stderr.strip().endswith("[not_found]")


def test_a_missing_output_folder_is_found_out_before_anything_is_asked(
    data_dir: str, tmp_path: Path
) -> None:
    done = calibrate(data_dir, tmp_path / "not" / "there.json", "--catalogue", WEB)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.strip().endswith("[settings_invalid]")
    assert not (tmp_path / "not").exists()


def test_help_shows_an_example_and_json() -> None:
    text = loadstar("calibrate", "--help").stdout
    assert "Example: loadstar calibrate --catalogue" in text
    assert "--json" in text and "--queries" in text and "--data-dir" in text
