"""`loadstar eval`: how good routing is, on labelled rows over real skills or over one's own."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from app.settings import AppSettings
from cli.output import DatabaseUrl, DataDir, Encoder, Json, given, print_json, stderr, stdout
from cli.progress import Bars
from core.errors import ModelMissingError, SettingsError
from core.settings import load_settings
from evaluation.types import Split
from indexer.settings import IndexerSettings

if TYPE_CHECKING:
    from evaluation.result import Evaluation

EXAMPLE = "Example: loadstar eval --queries own.jsonl --data-dir .loadstar"

Pool = Literal["quick", "full"]


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
    if data is not None and queries is None:
        found = _over_data(data, split, pool, options)
    elif queries is not None and data is None:
        found = _over_own(queries, options)
    else:
        raise SettingsError(
            "Name either --data, a folder of labelled rows with their skills, or --queries, a "
            "file of your own rows over what is indexed."
        )
    _show(found, output, as_json)


def _over_data(folder: Path, split: Split, pool: Pool, options: dict[str, Any]) -> Evaluation:
    with _needing_extra():
        from evaluation.main import evaluate_data, index_data
    if "database_url" in options:
        raise SettingsError("--data is indexed in the data folder: drop --database-url.")
    parent = load_settings(AppSettings, **options).data_dir
    # Nor the database of the environment: that is an operator's own, and these are strangers'
    # skills.
    options |= {"data_dir": parent / f"eval-{pool}", "database_url": None}
    settings = load_settings(AppSettings, **options)
    indexing = load_settings(
        IndexerSettings, **{name: given for name, given in options.items() if name != "policy_file"}
    )
    with Bars() as bars:
        prepared = asyncio.run(
            index_data(folder, pool, indexing, on_step=_on_step, on_progress=bars.show)
        )
    return asyncio.run(
        evaluate_data(prepared, split, settings, command=_command(), on_step=_on_step)
    )


def _over_own(file: Path, options: dict[str, Any]) -> Evaluation:
    with _needing_extra():
        from evaluation.main import evaluate_own
    settings = load_settings(AppSettings, **options)
    return asyncio.run(evaluate_own(file, settings, command=_command(), on_step=_on_step))


def _show(found: Evaluation, output: Path | None, as_json: bool) -> None:
    from evaluation import report

    if output is not None:
        for file in report.write(found, output):
            _on_step(f"written: {file}")
    if as_json:
        print_json(report.as_json(found))
    else:
        report.print_tables(found, stdout)


@contextmanager
def _needing_extra() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise ModelMissingError(
            "loadstar eval needs the extra `eval`: pip install 'loadstar[eval]'."
        ) from error


def _command() -> str:
    return shlex.join(["loadstar", *sys.argv[1:]])


def _on_step(step: str) -> None:
    stderr.print(step)
