"""The `loadstar` program as a user runs it: its own process, its output, its exit codes."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.embedding import MODELS
from reranker.late_interaction import Head
from reranker.load import OWN_RERANKER
from tests.support import CATALOGUE, EXAMPLES

COMMANDS = [
    "index",
    "serve",
    "route",
    "explain",
    "show",
    "eval",
    "fit",
    "report confusable",
    "doctor",
]


def loadstar(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def answer(*arguments: str) -> Any:
    done = loadstar(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("cli") / "data")
    skills = str(EXAMPLES / "skills")
    summary = answer("index", skills, "--catalogue", CATALOGUE, "--data-dir", folder)
    assert summary["published"] == summary["seen"] >= 40
    assert summary["unreadable"] == [] and summary["tokens_embedded"] > 0
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example_and_json(command: str) -> None:
    text = loadstar(*command.split(), "--help").stdout
    assert f"Example: loadstar {command}" in text
    assert "--json" in text and "--data-dir" in text


def test_a_second_run_over_unchanged_skills_embeds_nothing(data_dir: str) -> None:
    skills = str(EXAMPLES / "skills")
    again = answer("index", skills, "--catalogue", CATALOGUE, "--data-dir", data_dir)
    assert (again["published"], again["texts_embedded"]) == (0, 0)
    assert again["unchanged"] == again["seen"]


def test_route_answers_as_the_server_would(data_dir: str) -> None:
    found = answer("route", "merge the scanned pages into one PDF", "--data-dir", data_dir)
    assert found["skills"][0]["name"] == "pdf-merge-split"
    words = loadstar("route", "thanks, that was great", "--data-dir", data_dir)
    assert words.stdout.startswith("none (answerable_without)")


def test_explain_says_stage_by_stage_why_a_skill_is_offered(data_dir: str) -> None:
    task, place = "merge the scanned pages into one PDF", f"{CATALOGUE}/documents/pdf-merge-split"
    found = answer("explain", task, place, "--data-dir", data_dir)
    assert (found["name"], found["offered"]) == ("pdf-merge-split", True)
    words = loadstar("explain", task, found["id"], "--data-dir", data_dir).stdout
    assert words.startswith(f"{place}: offered")
    assert all(stage["says"] in words for stage in found["stages"])


def test_show_finds_a_skill_by_place_and_by_id(data_dir: str) -> None:
    place = f"{CATALOGUE}/documents/pdf-merge-split"
    by_place = answer("show", place, "--data-dir", data_dir)
    assert by_place == answer("show", by_place["id"], "--data-dir", data_dir)
    assert by_place["passages"][0].startswith("[routing] pdf merge split")


def test_doctor_says_what_is_in_force(data_dir: str) -> None:
    findings = answer("doctor", "--data-dir", data_dir)
    assert findings["ok"] and findings["problems"] == []
    assert findings["data"]["generation"]["skills"] == findings["data"]["skills"]
    assert " rows: " in findings["policy"]["calibration"]
    assert findings["model_file"] == "intact"
    assert findings["reranker"] == {"scored_by": "loadstar-reranker", "files": "intact"}


def test_doctor_names_an_altered_head(data_dir: str, tmp_path: Path) -> None:
    altered = shutil.copytree(MODELS / OWN_RERANKER, tmp_path / "altered")
    head = Head.read(altered)
    replace(head, inner=head.inner * 2).write(altered)
    done = loadstar("doctor", "--json", "--data-dir", data_dir, LOADSTAR_RERANKER=str(altered))
    findings = json.loads(done.stdout)
    assert done.returncode == 1 and findings["reranker"]["files"] == "altered"
    assert findings["problems"] == ["a model file is not the one its card describes; restore it"]


def test_doctor_fails_where_serve_would_not_start(tmp_path: Path) -> None:
    done = loadstar("doctor", "--json", "--data-dir", str(tmp_path))
    assert done.returncode == 1
    assert "loadstar index" in json.loads(done.stdout)["problems"][0]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("index", "/no/such/folder"), "source_unreadable"),
        (("route", ""), "settings_invalid"),
        (("route", "x", "--encoder", "no-such"), "model_missing"),
        (("route", "x", "--catalogue", "no/such"), "invalid_filter"),
        (("explain", "x", "skl_nothing"), "not_found"),
        (("explain", "", "skl_nothing"), "settings_invalid"),
        (("show", "skl_nothing"), "database_unavailable"),
        (("serve", "--database-url", "oracle://x"), "settings_invalid"),
    ],
)
def test_an_error_is_one_line_with_its_code(
    tmp_path: Path, arguments: tuple[str, ...], code: str
) -> None:
    done = loadstar(*arguments, "--data-dir", str(tmp_path / "data"))
    assert done.returncode == 1
    assert done.stderr.strip().endswith(f"[{code}]") and "Traceback" not in done.stderr


def test_an_error_as_json_has_code_and_detail(tmp_path: Path) -> None:
    done = loadstar("index", "/no/such", "--json", "--data-dir", str(tmp_path))
    assert json.loads(done.stderr)["code"] == "source_unreadable"


def test_a_misspelt_setting_is_an_error() -> None:
    done = loadstar("doctor", LOADSTAR_DATADIR="x")
    assert done.returncode == 1 and "LOADSTAR_DATADIR is not a setting" in done.stderr


def test_a_setting_out_of_bounds_is_named() -> None:
    done = loadstar("doctor", LOADSTAR_RERANK_DEPTH="0")
    assert done.returncode == 1 and "LOADSTAR_RERANK_DEPTH" in done.stderr


def test_another_programs_database_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    import sqlite3

    file = tmp_path / "catalogue.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE invoices (id INTEGER)")
    before = file.read_bytes()
    done = loadstar("index", str(EXAMPLES / "skills"), "--data-dir", str(tmp_path))
    assert done.returncode == 1 and "[foreign_database]" in done.stderr
    assert file.read_bytes() == before


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_serve_answers_http_and_stops_cleanly(data_dir: str) -> None:
    port = free_port()
    command = [sys.executable, "-m", "cli.main", "serve", "--port", str(port)]
    server = subprocess.Popen([*command, "--data-dir", data_dir], stderr=subprocess.PIPE, text=True)
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 30
        while True:
            try:
                assert httpx.get(f"{url}/readyz").status_code == 200
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline and server.poll() is None
                time.sleep(0.05)
        found = httpx.post(f"{url}/route", json={"task": "merge pdf files into one"}).json()
        assert found["skills"][0]["name"] == "pdf-merge-split"
        bad = httpx.post(f"{url}/route", json={"task": ""})
        assert bad.status_code == 422
    finally:
        server.terminate()
        _, errors = server.communicate(timeout=20)
    assert "Traceback" not in errors
