"""Expand: the processes of an installation and its switches. Releases of the first schema run on it unchanged."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
# Whose turn it is: by priority and due time in a lane, by tenant and resource where many wait.
WAITING = {"operations": "queued", "predictions": "starting", "deliveries": "pending"}
SHARES = {"operations": "priority", "predictions": "service_id", "deliveries": "receiver"}


def upgrade() -> None:
    op.create_table(
        "processes",
        sa.Column("id", sa.String(80), primary_key=True),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("host", sa.String(200), nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.String(40), nullable=False),
        sa.Column("schema", sa.String(20), nullable=False),
        sa.Column("address", sa.Text()),
        sa.Column("details", JSON, nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "switches",
        sa.Column("name", sa.String(40), primary_key=True),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger()),
    )
    op.create_table(
        "circuits",
        sa.Column("receiver", sa.String(320), primary_key=True),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("open_until", sa.BigInteger()),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
    )
    op.add_column("deliveries", sa.Column("receiver", sa.String(320)))
    pending = sa.text("status = 'pending'")
    op.create_index(
        "ix_deliveries_receiver",
        "deliveries",
        ["receiver", "due_at"],
        sqlite_where=pending,
        postgresql_where=pending,
    )
    _index_turns()


def _index_turns() -> None:
    columns = {"next": ["lane", "priority", "due_at", "id"]}
    for table, status in WAITING.items():
        columns["share"] = ["lane", "tenant_id", SHARES[table], "due_at", "id"]
        for name, indexed in columns.items():
            _index_waiting(f"ix_{table}_{name}", table, indexed, status)
    _index_waiting("ix_operations_wishes", "operations", ["target_id", "created_at", "id"], "queued")


def _index_waiting(name: str, table: str, columns: list[str], status: str) -> None:
    where = sa.text(f"status = '{status}'")
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    op.drop_index("ix_operations_wishes", "operations")
    for table in WAITING:
        for name in ("next", "share"):
            op.drop_index(f"ix_{table}_{name}", table)
    op.drop_index("ix_deliveries_receiver", "deliveries")
    op.drop_column("deliveries", "receiver")
    op.drop_table("circuits")
    op.drop_table("switches")
    op.drop_table("processes")
