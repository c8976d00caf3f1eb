"""Expand: a revision may have config files, sealed, and a pinned runtime. Releases of the schemas before run on it, and
leave the columns alone: their nodes and rollbacks know nothing of either, so both are for the time after the upgrade.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    op.add_column("revisions", sa.Column("config_sealed", sa.Text()))
    op.add_column("revisions", sa.Column("config_names", JSON))
    op.add_column("revisions", sa.Column("runtime", JSON))


def downgrade() -> None:
    for column in ("runtime", "config_names", "config_sealed"):
        op.drop_column("revisions", column)
