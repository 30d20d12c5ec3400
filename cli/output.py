"""How every command speaks: text or JSON on stdout, errors on stderr."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import BaseModel, ValidationError
from rich.console import Console

from core.embedding import DEFAULT_ENCODER
from core.errors import LoadstarError, SettingsError

Request = TypeVar("Request", bound=BaseModel)

stdout = Console(soft_wrap=True, highlight=False, markup=False)
stderr = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Folder of databases and generations (LOADSTAR_DATA_DIR).", show_default=".loadstar"
    ),
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(help="PostgreSQL instead of SQLite (LOADSTAR_DATABASE_URL)."),
]
Encoder = Annotated[
    str | None,
    typer.Option(help="Encoder to embed with (LOADSTAR_ENCODER).", show_default=DEFAULT_ENCODER),
]


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    stdout.print(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def print_error(error: LoadstarError, as_json: bool) -> None:
    """The error's text and code on stderr; as JSON where that was asked for."""
    if as_json:
        stderr.print(json.dumps({"code": error.code, "detail": error.detail}, ensure_ascii=False))
    else:
        stderr.print(f"loadstar: {error.detail} [{error.code}]")


def given(**options: Any) -> dict[str, Any]:
    """The options that the user gave; the environment and the defaults fill the rest."""
    return {name: value for name, value in options.items() if value is not None}


def asked(kind: type[Request], **fields: Any) -> Request:
    """A request of what the user gave. Raises SettingsError with the first wrong field."""
    try:
        return kind(**fields)
    except ValidationError as error:
        found = error.errors()[0]
        raise SettingsError(f"{'.'.join(str(p) for p in found['loc'])}: {found['msg']}") from error
