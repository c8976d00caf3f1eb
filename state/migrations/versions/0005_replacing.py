"""Expand: a placement names the one replica that is to be replaced. Releases of the schemas before run on it unchanged:
they leave the column alone, and a name that is left over is that of a replica that has ended."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("placements", sa.Column("replacing", sa.String(40)))


def downgrade() -> None:
    op.drop_column("placements", "replacing")
