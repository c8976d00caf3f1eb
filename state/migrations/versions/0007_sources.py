"""Expand: a version may come from a URL. Releases of the schemas before run on it, and leave the column alone.

What is to be fetched waits in a lane that their workers do not know. Until it is fetched its digest is "": their backup
and doctor stumble over that, so a version by source is for the time after the upgrade.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("versions", sa.Column("source_uri", sa.Text()))


def downgrade() -> None:
    op.drop_column("versions", "source_uri")
