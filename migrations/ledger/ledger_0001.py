"""The first table of the ledger."""

import sqlalchemy as sa
from alembic import op

revision = "ledger_0001"
down_revision = None


def upgrade() -> None:
    """Create it."""
    op.create_table(
        "routes",
        sa.Column("route_id", sa.Text, primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("task", sa.Text),
        sa.Column("task_hash", sa.Text),
        sa.Column("request", sa.JSON, nullable=False),
        sa.Column("decision", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("confidence", sa.Double, nullable=False),
        sa.Column("calibration", sa.Text, nullable=False),
        sa.Column("scored_by", sa.Text, nullable=False),
        sa.Column("skills", sa.JSON, nullable=False),
        sa.Column("not_loaded", sa.JSON, nullable=False),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("models", sa.JSON, nullable=False),
        sa.Column("generation", sa.Text, nullable=False),
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("timings", sa.JSON, nullable=False),
    )
    op.create_index("routes_at_idx", "routes", ["at"])


def downgrade() -> None:
    """Drop it with all it holds."""
    op.drop_table("routes")
