"""Expand: the runs that are wanted by tenant, so that the node finds whose turn it is without reading all that wait."""

from alembic import op
from sqlalchemy import text

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    wanted = text("wanted OR pid IS NOT NULL")
    op.create_index(
        "ix_run_processes_turn",
        "run_processes",
        ["tenant_id", "run_id"],
        sqlite_where=wanted,
        postgresql_where=wanted,
    )


def downgrade() -> None:
    op.drop_index("ix_run_processes_turn", "run_processes")
