"""The first tables of the catalogue."""

import sqlalchemy as sa
from alembic import op

revision = "catalogue_0001"
down_revision = None

TABLES = (
    "catalogues",
    "skills",
    "skill_rows",
    "blobs",
    "files",
    "passages",
    "spaces",
    "vectors",
    "feed_head",
    "feed",
    "generations",
    "pointers",
)

long = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create them, with the feed at 0."""
    _skills()
    _content()
    _state()


def downgrade() -> None:
    """Drop them with all they hold."""
    for table in reversed(TABLES):
        op.drop_table(table)


def _skills() -> None:
    op.create_table(
        "catalogues",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.UniqueConstraint("name", name="catalogues_name_key"),
    )
    op.create_table(
        "skills",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("catalogue_id", sa.Integer, sa.ForeignKey("catalogues.id"), nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("live_row", long),
        sa.UniqueConstraint("catalogue_id", "path", name="skills_catalogue_id_path_key"),
    )
    op.create_index("skills_live_row_idx", "skills", ["live_row"], unique=True)
    op.create_table(
        "skill_rows",
        sa.Column("row", long, primary_key=True, autoincrement=False),
        sa.Column("skill_id", sa.Text, sa.ForeignKey("skills.id"), nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("declared_version", sa.Text),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("triggers", sa.JSON, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("licence", sa.Text),
        sa.Column("language", sa.Text, nullable=False),
        sa.Column("tags", sa.JSON, nullable=False),
        sa.Column("trust", sa.Integer, nullable=False),
        sa.Column("routable", sa.Boolean, nullable=False),
        sa.Column("frontmatter", sa.JSON, nullable=False),
        sa.Column("problems", sa.JSON, nullable=False),
        sa.Column("tokens_routing", sa.Integer, nullable=False),
        sa.Column("tokens_body", sa.Integer, nullable=False),
        sa.Column("tokens_files", sa.Integer, nullable=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
        sa.Column("derivation", sa.Text, nullable=False),
        sa.Column("published_at", moment, nullable=False),
    )
    op.create_index("skill_rows_skill_id_digest_idx", "skill_rows", ["skill_id", "digest"])


def _content() -> None:
    op.create_table(
        "blobs",
        sa.Column("sha256", sa.LargeBinary(32), primary_key=True),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "files",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("path", sa.Text, primary_key=True),
        sa.Column("sha256", sa.LargeBinary(32), sa.ForeignKey("blobs.sha256"), nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
    )
    op.create_table(
        "passages",
        sa.Column("row", long, sa.ForeignKey("skill_rows.row"), primary_key=True),
        sa.Column("ordinal", sa.Integer, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("section", sa.Text, nullable=False),
        sa.Column("line", sa.Integer, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("text_hash", sa.LargeBinary(32), nullable=False),
    )
    op.create_table(
        "spaces",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("description", sa.JSON, nullable=False),
        sa.UniqueConstraint("name", name="spaces_name_key"),
    )
    op.create_table(
        "vectors",
        sa.Column("space_id", sa.Integer, sa.ForeignKey("spaces.id"), primary_key=True),
        sa.Column("text_hash", sa.LargeBinary(32), primary_key=True),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )


def _state() -> None:
    feed_head = op.create_table(
        "feed_head",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("seq", long, nullable=False),
    )
    op.bulk_insert(feed_head, [{"id": 1, "seq": 0}])
    op.create_table(
        "feed",
        sa.Column("seq", long, primary_key=True, autoincrement=False),
        sa.Column("skill_id", sa.Text, sa.ForeignKey("skills.id"), nullable=False),
        sa.Column("row", long),
        sa.Column("replaced_row", long),
        sa.Column("at", moment, nullable=False),
    )
    op.create_table(
        "generations",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("space", sa.Text, nullable=False),
        sa.Column("seq", long, nullable=False),
        sa.Column("row_count", sa.Integer, nullable=False),
        sa.Column("checksum", sa.Text, nullable=False),
        sa.Column("created_at", moment, nullable=False),
    )
    op.create_table(
        "pointers",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
