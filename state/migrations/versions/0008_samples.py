"""Expand: what the last hour's predictions and processes were like. Releases of the schemas before run on it unchanged:
they write no samples and sweep none."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    op.create_table(
        "samples",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("tenant_id", sa.String(40), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("service_id", sa.String(40), nullable=False),
        sa.Column("replica_id", sa.String(40)),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("errors", sa.BigInteger(), nullable=False),
        sa.Column("refused", sa.BigInteger(), nullable=False),
        sa.Column("latency", JSON),
        sa.Column("cpu_micros", sa.BigInteger()),
        sa.Column("over_micros", sa.BigInteger()),
        sa.Column("memory_bytes", sa.BigInteger()),
    )
    op.create_index("ix_samples_service", "samples", ["service_id", "created_at"])


def downgrade() -> None:
    op.drop_table("samples")
