"""`loadstar report` as a user runs it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from indexer.settings import IndexerSettings
from tests.cli.test_commands import loadstar
from tests.evaluation.test_confusable import ACME, SKILLS, write_skills
from tests.support import index_folder


@pytest.fixture
async def data_dir(tmp_path: Path) -> str:
    folder = write_skills(tmp_path / "skills")
    await index_folder(IndexerSettings(data_dir=tmp_path / "data"), folder, ACME)
    return str(tmp_path / "data")


def confusable(data_dir: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return loadstar("report", "confusable", "--data-dir", data_dir, *arguments)


async def test_confusable_prints_the_worst_group_first_with_what_to_change(data_dir: str) -> None:
    done = confusable(data_dir, "--catalogue", ACME, "--limit", "1")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"{ACME}: 6 of {len(SKILLS)} skills cannot be told from another")
    assert "   → Descriptions differ only in: customer, supplier." in lines
    assert "2 more groups: --limit 3" in lines
    assert lines[-1].strip() == f"{ACME}/mystery"


async def test_confusable_as_json_holds_every_figure(data_dir: str) -> None:
    found = json.loads(confusable(data_dir, "--catalogue", ACME, "--json").stdout)
    assert (found["catalogue"], found["groups_found"], len(found["groups"])) == (ACME, 3, 3)
    pair = found["groups"][0]["pairs"][0]
    assert pair["reasons"] == ["near"] and 0 < pair["margin"] < found["margin"]
    assert {"cosine", "shared_words", "shared_body", "same_name"} <= pair.keys()


async def test_an_unknown_catalogue_is_one_line_that_names_those_there_are(data_dir: str) -> None:
    for arguments, code in ((("--catalogue", "no/such"), "not_found"), ((), "settings_invalid")):
        done = confusable(data_dir, *arguments)
        assert done.returncode == 1 and done.stderr.count("\n") == 1
        assert done.stderr.strip().endswith(f"There are {ACME} ({len(SKILLS)}). [{code}]")


def test_the_report_has_help_with_an_example() -> None:
    text = loadstar("report", "confusable", "--help").stdout
    assert "Example: loadstar report confusable" in text
    assert "--json" in text and "--data-dir" in text
    assert "confusable" in loadstar("report", "--help").stdout
