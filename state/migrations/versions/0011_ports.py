"""Expand: a service may have a port of its own. Releases of the schemas before run on it unchanged."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

HELD = sa.text("port IS NOT NULL AND status <> 'deleted'")


def upgrade() -> None:
    op.add_column("services", sa.Column("port", sa.BigInteger()))
    op.create_index("uq_services_port", "services", ["port"], unique=True, sqlite_where=HELD, postgresql_where=HELD)


def downgrade() -> None:
    op.drop_index("uq_services_port", "services")
    op.drop_column("services", "port")
