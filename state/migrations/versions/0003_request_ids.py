"""Expand: work remembers the request that caused it. Releases of schema 0002 run on it unchanged; what they write lacks
the request's id, and `state.backfills` completes it from the audit."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

CLAIMABLE = ("operations", "predictions", "deliveries")


def upgrade() -> None:
    for table in CLAIMABLE:
        op.add_column(table, sa.Column("request_id", sa.String(80)))


def downgrade() -> None:
    for table in CLAIMABLE:
        op.drop_column(table, "request_id")
