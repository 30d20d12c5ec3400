"""The tables of the catalogue and of the ledger, on SQLite and PostgreSQL alike.

`migrations/` builds them; a test holds the two against each other. Nothing in the catalogue is
edited but `skills.live_row`, `feed_head` and `pointers`: a change is a new row, then one pointer.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

Which = Literal["catalogue", "ledger"]
"""The two databases: files beside each other on SQLite, two schemas on PostgreSQL."""

Long = BigInteger().with_variant(Integer(), "sqlite")  # SQLite's INTEGER has 64 bits


class Words(TypeDecorator[str]):
    """Text that was not written by us: PostgreSQL stores no NUL, so U+FFFD stands in for it."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """The text without NUL, the same on both databases."""
        return value.replace("\0", "\ufffd") if value is not None and "\0" in value else value


class Moment(TypeDecorator[datetime]):
    """A point in time: aware, UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """UTC; raises ValueError for a naive time, which could mean any moment of a day."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Aware, UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# The names that PostgreSQL itself gives, so that migrations need not spell them out.
NAMES = {
    "pk": "%(table_name)s_pkey",
    "uq": "%(table_name)s_%(column_0_N_name)s_key",
    "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
    "ix": "%(table_name)s_%(column_0_N_name)s_idx",
}
catalogue_metadata = MetaData(naming_convention=NAMES)
ledger_metadata = MetaData(naming_convention=NAMES)
METADATA: dict[Which, MetaData] = {"catalogue": catalogue_metadata, "ledger": ledger_metadata}

catalogues = Table(
    "catalogues",
    catalogue_metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("name", Words, nullable=False, unique=True),  # owner/name
    Column("created_at", Moment, nullable=False),
)

skills = Table(
    "skills",
    catalogue_metadata,
    Column("id", Text, primary_key=True),  # core.types.skill_id
    Column("catalogue_id", Integer, ForeignKey(catalogues.c.id), nullable=False),
    Column("path", Words, nullable=False),
    Column("live_row", Long),  # NULL: withdrawn
    UniqueConstraint("catalogue_id", "path"),
    Index("skills_live_row_idx", "live_row", unique=True),
)

skill_rows = Table(
    "skill_rows",
    catalogue_metadata,
    # The feed's number of the publication, so never used twice.
    Column("row", Long, primary_key=True, autoincrement=False),
    Column("skill_id", Text, ForeignKey(skills.c.id), nullable=False),
    Column("digest", Text, nullable=False),  # sha256:…
    Column("declared_version", Words),
    Column("name", Words, nullable=False),
    Column("description", Words, nullable=False),
    Column("triggers", JSON, nullable=False),
    Column("body", Words, nullable=False),
    Column("licence", Words),
    Column("language", Text, nullable=False),
    Column("tags", JSON, nullable=False),
    Column("trust", Integer, nullable=False),
    Column("routable", Boolean, nullable=False),
    Column("frontmatter", JSON, nullable=False),
    Column("problems", JSON, nullable=False),
    Column("tokens_routing", Integer, nullable=False),
    Column("tokens_body", Integer, nullable=False),
    Column("tokens_files", Integer, nullable=False),
    Column("signature", LargeBinary, nullable=False),  # MinHash, uint32 little-endian
    Column("derivation", Text, nullable=False),  # what else it was derived from; see PreparedSkill
    Column("published_at", Moment, nullable=False),
    Index("skill_rows_skill_id_digest_idx", "skill_id", "digest"),
)

blobs = Table(
    "blobs",
    catalogue_metadata,
    Column("sha256", LargeBinary(32), primary_key=True),
    Column("size", Integer, nullable=False),  # bytes before compression
    Column("data", LargeBinary, nullable=False),  # zlib
)

files = Table(
    "files",
    catalogue_metadata,
    Column("digest", Text, primary_key=True),
    Column("path", Words, primary_key=True),
    Column("sha256", LargeBinary(32), ForeignKey(blobs.c.sha256), nullable=False),
    Column("size", Integer, nullable=False),
)

passages = Table(
    "passages",
    catalogue_metadata,
    Column("row", Long, ForeignKey(skill_rows.c.row), primary_key=True),
    Column("ordinal", Integer, primary_key=True),  # 0: the routing passage
    Column("kind", Text, nullable=False),
    Column("section", Words, nullable=False),
    Column("line", Integer, nullable=False),
    Column("text", Words, nullable=False),
    Column("text_hash", LargeBinary(32), nullable=False),
)

spaces = Table(
    "spaces",
    catalogue_metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("name", Text, nullable=False, unique=True),  # Space.id
    Column("description", JSON, nullable=False),
)

# An ordinary table on SQLite too: WITHOUT ROWID keeps the vectors inside the key's tree, where
# random hashes split its pages (180,000 vectors: 13 s to write instead of 4, 12 % larger).
vectors = Table(
    "vectors",
    catalogue_metadata,
    Column("space_id", Integer, ForeignKey(spaces.c.id), primary_key=True),
    Column("text_hash", LargeBinary(32), primary_key=True),
    Column("data", LargeBinary, nullable=False),  # fp16 little-endian
)

feed_head = Table(
    "feed_head",
    catalogue_metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # 1, the only row
    Column("seq", Long, nullable=False),
)

feed = Table(
    "feed",
    catalogue_metadata,
    Column("seq", Long, primary_key=True, autoincrement=False),
    Column("skill_id", Text, ForeignKey(skills.c.id), nullable=False),
    Column("row", Long),  # NULL: withdrawn
    Column("replaced_row", Long),
    Column("at", Moment, nullable=False),
)

generations = Table(
    "generations",
    catalogue_metadata,
    Column("id", Text, primary_key=True),
    Column("space", Text, nullable=False),  # Space.id
    Column("seq", Long, nullable=False),  # the feed's head when it was built
    Column("row_count", Integer, nullable=False),
    Column("checksum", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
)

pointers = Table(
    "pointers",
    catalogue_metadata,
    Column("name", Text, primary_key=True),  # generation:<space>
    Column("value", Text, nullable=False),
)

routes = Table(
    "routes",
    ledger_metadata,
    Column("route_id", Text, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("task", Words),
    Column("task_hash", Text),
    Column("request", JSON, nullable=False),
    Column("decision", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("confidence", Double, nullable=False),
    Column("calibration", Text, nullable=False),
    Column("scored_by", Text, nullable=False),
    Column("skills", JSON, nullable=False),
    Column("not_loaded", JSON, nullable=False),
    Column("policy", Text, nullable=False),
    Column("models", JSON, nullable=False),
    Column("generation", Text, nullable=False),
    Column("seq", Long, nullable=False),
    Column("timings", JSON, nullable=False),
    Index("routes_at_idx", "at"),
)
