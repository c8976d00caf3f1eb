"""Expand: a prediction may ask one part of its version. Releases of the schemas before run on it unchanged."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("predictions", sa.Column("part", sa.String(48)))


def downgrade() -> None:
    op.drop_column("predictions", "part")
