"""Expand: how many columns a dataset has, and what is known of each behind everything else of its row.

SQLite reads a row from its beginning, page by page: what stands behind ten thousand columns would be read with them.
How a dataset is read tells its columns no longer a second time. No release has 0015 and 0016 without this one.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
MOVE = {
    "sqlite": "UPDATE datasets SET column_count = json_array_length(columns), "
    "layout = json_remove(layout, '$.columns'), moved = columns WHERE columns IS NOT NULL",
    "postgresql": "UPDATE datasets SET column_count = jsonb_array_length(columns), "
    "layout = layout - 'columns', moved = columns WHERE columns IS NOT NULL",
}


def upgrade() -> None:
    op.add_column("datasets", sa.Column("column_count", sa.BigInteger()))
    op.add_column("datasets", sa.Column("moved", JSON))
    op.execute(MOVE[op.get_bind().dialect.name])
    op.drop_column("datasets", "columns")
    op.execute("ALTER TABLE datasets RENAME COLUMN moved TO columns")


def downgrade() -> None:
    op.drop_column("datasets", "column_count")
