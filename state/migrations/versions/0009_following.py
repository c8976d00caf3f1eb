"""Expand: a service may follow a reference to a version. Releases of the schemas before run on it unchanged: they leave
the columns alone, and roll nothing on."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

FOLLOWING = sa.text("version_ref IS NOT NULL AND status <> 'deleted'")


def upgrade() -> None:
    op.add_column("services", sa.Column("version_ref", sa.String(80)))
    op.add_column("services", sa.Column("followed_id", sa.String(40)))
    op.create_index(
        "ix_services_following", "services", ["version_ref"], sqlite_where=FOLLOWING, postgresql_where=FOLLOWING
    )


def downgrade() -> None:
    op.drop_index("ix_services_following", "services")
    op.drop_column("services", "followed_id")
    op.drop_column("services", "version_ref")
