"""Expand: files that clients upload for their inputs. Releases of schema 0003 run on it unchanged.

The sweeper of such a release does not see that a file refers to its blob. It leaves a blob alone for as long as one
idles (`PORTSIDE_BLOB_IDLE_S`, an hour): within that the processes should be replaced.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    op.create_table(
        "files",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("tenant_id", sa.String(40), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("content_type", sa.String(120), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.Column("about", JSON, nullable=False),
    )
    op.create_index("ix_files_digest", "files", ["digest"])
    op.create_index("ix_files_list", "files", ["tenant_id", "created_at", "id"])


def downgrade() -> None:
    op.drop_table("files")
