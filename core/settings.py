"""Settings that both programs read: where the data lives and which encoder makes the vectors."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.embedding import DEFAULT_ENCODER
from core.errors import SettingsError

PREFIX = "LOADSTAR_"

Chosen = TypeVar("Chosen", bound="Settings")


class Settings(BaseSettings):
    """The environment's LOADSTAR_… variables; what a program passes itself takes precedence."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    data_dir: Path = Field(
        default=Path(".loadstar"), description="folder of databases and generations"
    )
    database_url: str | None = Field(
        default=None,
        description="`postgresql+psycopg://user:password@host/name`; SQLite in `data_dir` if unset",
    )
    encoder: str = Field(
        default=DEFAULT_ENCODER,
        description="folder or name of an exported encoder, `st:NAME`, or `hashing`",
    )
    threads: int = Field(
        default=os.cpu_count() or 1, ge=1, description="CPU threads for models and scans"
    )

    @property
    def catalogue_url(self) -> str:
        """The SQLAlchemy URL of the catalogue database."""
        return self.database_url or f"sqlite+aiosqlite:///{self.data_dir / 'catalogue.db'}"

    @property
    def generations_dir(self) -> Path:
        """The folder that holds one folder per generation."""
        return self.data_dir / "generations"


def refuse_unknown_settings(environment: Iterable[str], known: Iterable[type[Settings]]) -> None:
    """Raise SettingsError for a LOADSTAR_… variable that no program knows: a typing mistake."""
    names = {PREFIX + name.upper() for settings in known for name in settings.model_fields}
    for name in sorted(environment):
        if name.startswith(PREFIX) and name.upper() not in names:
            raise SettingsError(f"{name} is not a setting. Known are: {', '.join(sorted(names))}.")


def load_settings(kind: type[Chosen], **options: Any) -> Chosen:
    """Settings from `options`, then the environment, then the defaults.

    Raises SettingsError naming each wrong setting and why.
    """
    try:
        return kind(**options)
    except ValidationError as error:
        wrong = [
            f"{PREFIX}{'.'.join(str(part) for part in found['loc']).upper()}: {found['msg']}"
            for found in error.errors()
        ]
        raise SettingsError("; ".join(wrong)) from error
