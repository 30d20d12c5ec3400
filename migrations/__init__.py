"""How the two databases came to their present tables, and the way there from any older ones."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from core.tables import Which

VERSION_TABLE = "alembic_version"

# PostgreSQL. One process migrates while the others wait for it; a statement that would queue for
# a busy table, and so make every later one queue behind it, gives up instead.
OTHER_MIGRATION_WAIT = "60s"
LOCK_WAIT = "5s"
STATEMENT_WAIT = "60s"
ADVISORY_LOCK = 0x10AD57A2


def apply(connection: Connection, which: Which, revision: str) -> None:
    """Go to `revision`, or up to `head`, or down to `base`, inside the caller's transaction.

    On SQLite the transaction must hold the write lock, as those of `core.db.write` do.
    """
    if connection.dialect.name == "postgresql":
        _wait_in_turn(connection)
        if which == "ledger":
            connection.execute(text("CREATE SCHEMA IF NOT EXISTS ledger"))
    config = _config(which)
    config.attributes["connection"] = connection
    go = command.downgrade if revision == "base" else command.upgrade
    go(config, revision)


def current_revisions(connection: Connection) -> set[str]:
    """What the database says of itself; nothing where it has no version table."""
    return set(MigrationContext.configure(connection).get_current_heads())


def known_revisions(which: Which) -> list[str]:
    """Every revision that this program knows, oldest first."""
    script = ScriptDirectory.from_config(_config(which))
    return [step.revision for step in script.walk_revisions()][::-1]


def _config(which: Which) -> Config:
    folder = Path(__file__).parent
    config = Config()
    # Alembic interpolates percent signs in its options.
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("version_locations", str(folder / which).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    return config


def _wait_in_turn(connection: Connection) -> None:
    for statement in (
        f"SET LOCAL lock_timeout = '{OTHER_MIGRATION_WAIT}'",
        f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})",
        f"SET LOCAL lock_timeout = '{LOCK_WAIT}'",
        f"SET LOCAL statement_timeout = '{STATEMENT_WAIT}'",
    ):
        connection.execute(text(statement))
