"""Labelled rows of `loadstar eval` and `fit`: the folder or the file, and the index over it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from app.settings import AppSettings
from cli.output import stderr
from cli.progress import Bars
from core.errors import ModelMissingError, SettingsError
from core.settings import load_settings
from indexer.settings import IndexerSettings

if TYPE_CHECKING:
    from evaluation.prepare import Prepared

Pool = Literal["quick", "full"]


def exactly_one(data: Path | None, queries: Path | None) -> None:
    """Raises SettingsError unless one of --data and --queries was given."""
    if (data is None) == (queries is None):
        raise SettingsError(
            "Name either --data, a folder of labelled rows with their skills, or --queries, a "
            "file of your own rows over what is indexed."
        )


def indexed(folder: Path, pool: Pool, options: dict[str, Any]) -> tuple[Prepared, AppSettings]:
    """The folder's rows, their skills indexed in the data folder's own `eval-…`, and its settings.

    Raises SettingsError where a database is named: these are strangers' skills, and an operator's
    database, be it of the environment, is none of their business.
    """
    from evaluation.main import index_data

    if "database_url" in options:
        raise SettingsError("--data is indexed in the data folder: drop --database-url.")
    parent = load_settings(AppSettings, **options).data_dir
    own = options | {"data_dir": parent / f"eval-{pool}", "database_url": None}
    indexing = {name: value for name, value in own.items() if name != "policy_file"}
    with Bars() as bars:
        prepared = asyncio.run(
            index_data(
                folder,
                pool,
                load_settings(IndexerSettings, **indexing),
                on_step=on_step,
                on_progress=bars.show,
            )
        )
    return prepared, load_settings(AppSettings, **own)


@contextmanager
def needing_extra(command: str) -> Iterator[None]:
    """Turns a missing package into ModelMissingError, which says what to install."""
    try:
        yield
    except ImportError as error:
        raise ModelMissingError(
            f"loadstar {command} needs the extra `eval`: pip install 'loadstar[eval]'."
        ) from error


def on_step(step: str) -> None:
    """What is being done, on stderr."""
    stderr.print(step)
