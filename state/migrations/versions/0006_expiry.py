"""Expand: a service may have an end. Releases of the schemas before run on it unchanged, and leave the column alone."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

MORTAL = sa.text("expires_at IS NOT NULL AND status <> 'deleted'")


def upgrade() -> None:
    op.add_column("services", sa.Column("expires_at", sa.BigInteger()))
    op.create_index("ix_services_expiry", "services", ["expires_at"], sqlite_where=MORTAL, postgresql_where=MORTAL)


def downgrade() -> None:
    op.drop_index("ix_services_expiry", "services")
    op.drop_column("services", "expires_at")
