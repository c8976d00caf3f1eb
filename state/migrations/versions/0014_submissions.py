"""Expand: a prediction keeps how it is to be read and answered, and what tells its submission from another one.

Releases of the schemas before run on it unchanged.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("predictions", sa.Column("options", sa.JSON().with_variant(JSONB(), "postgresql")))
    op.add_column("predictions", sa.Column("request_sha256", sa.String(64)))


def downgrade() -> None:
    op.drop_column("predictions", "request_sha256")
    op.drop_column("predictions", "options")
