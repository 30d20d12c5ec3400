"""`loadstar eval`: how good routing is, on labelled rows over real skills or over one's own."""

from __future__ import annotations

import asyncio
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.settings import AppSettings
from cli.labelled import Pool, exactly_one, indexed, needing_extra, on_step
from cli.output import DatabaseUrl, DataDir, Encoder, Json, given, print_json, stdout
from core.settings import load_settings
from evaluation.types import Split

if TYPE_CHECKING:
    from evaluation.result import Evaluation

EXAMPLE = "Example: loadstar eval --queries own.jsonl --data-dir .loadstar"


def evaluate(
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of labelled rows and skills.jsonl.xz; it is indexed first."),
    ] = None,
    queries: Annotated[
        Path | None,
        typer.Option(help="Own rows, JSON lines {query, expected}, over what is indexed already."),
    ] = None,
    split: Annotated[Split, typer.Option(help="Rows of --data to report.")] = Split.TEST,
    pool: Annotated[Pool, typer.Option(help="Skills of --data: 20,000, or all.")] = "quick",
    output: Annotated[
        Path | None, typer.Option(help="Folder to write Markdown, plots and JSON to.")
    ] = None,
    policy_file: Annotated[
        Path | None, typer.Option(help="Policy to decide by (LOADSTAR_POLICY_FILE).")
    ] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    encoder: Encoder = None,
    as_json: Json = False,
) -> None:
    """Score every system within catalogues and over everything indexed, with intervals.

    With --data the index is kept in the data folder's own folder eval-quick or eval-full.
    """
    options = given(
        policy_file=policy_file, data_dir=data_dir, database_url=database_url, encoder=encoder
    )
    exactly_one(data, queries)
    found = _over_data(data, split, pool, options) if data else _over_own(queries, options)
    _show(found, output, as_json)


def _over_data(folder: Path, split: Split, pool: Pool, options: dict[str, Any]) -> Evaluation:
    with needing_extra("eval"):
        from evaluation.main import evaluate_data
    prepared, settings = indexed(folder, pool, options)
    return asyncio.run(
        evaluate_data(prepared, split, settings, command=_command(), on_step=on_step)
    )


def _over_own(file: Path | None, options: dict[str, Any]) -> Evaluation:
    with needing_extra("eval"):
        from evaluation.main import evaluate_own
    assert file is not None
    settings = load_settings(AppSettings, **options)
    return asyncio.run(evaluate_own(file, settings, command=_command(), on_step=on_step))


def _show(found: Evaluation, output: Path | None, as_json: bool) -> None:
    from evaluation import report

    if output is not None:
        for file in report.write(found, output):
            on_step(f"written: {file}")
    if as_json:
        print_json(report.as_json(found))
    else:
        report.print_tables(found, stdout)


def _command() -> str:
    return shlex.join(["loadstar", *sys.argv[1:]])
