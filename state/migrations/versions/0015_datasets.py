"""Expand: datasets, and uploads in parts. Releases of the schemas before run on it unchanged: they have none.

Their sweeper knows no references from these tables: what makes a dataset waits until they have ended
(`state.releases`).
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
NAMED = sa.text("status <> 'deleted'")
FORMER = sa.text("ordinal < 0")


def upgrade() -> None:
    _make_datasets()
    _make_dataset_parts()
    _make_dataset_files()
    _make_uploads()
    _make_upload_parts()


def downgrade() -> None:
    op.drop_table("upload_parts")
    op.drop_table("uploads")
    op.drop_table("dataset_files")
    op.drop_table("dataset_parts")
    op.drop_table("datasets")


def _make_datasets() -> None:
    op.create_table(
        "datasets",
        *_resource(),
        sa.Column("name", sa.String(48), nullable=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("source_uri", sa.Text()),
        sa.Column("is_reference", sa.Boolean(), nullable=False),
        sa.Column("source_etag", sa.Text()),
        sa.Column("credential_sealed", sa.Text()),
        sa.Column("upload_id", sa.String(40)),
        sa.Column("run_id", sa.String(40)),
        sa.Column("role", sa.String(20)),
        sa.Column("filename", sa.Text()),
        sa.Column("digest", sa.String(71)),
        sa.Column("size_bytes", sa.BigInteger()),
        sa.Column("hints", JSON, nullable=False),
        sa.Column("format", sa.String(20)),
        sa.Column("layout", JSON),
        sa.Column("rows", sa.BigInteger()),
        sa.Column("rows_are_estimated", sa.Boolean(), nullable=False),
        sa.Column("columns", JSON),
        sa.Column("warnings", JSON),
        sa.Column("preview_digest", sa.String(71)),
        sa.Column("files", sa.BigInteger()),
    )
    op.create_index("ix_datasets_digest", "datasets", ["digest"])
    op.create_index("ix_datasets_list", "datasets", ["tenant_id", "created_at", "id"])
    op.create_index("ix_datasets_preview", "datasets", ["preview_digest"])
    op.create_index("ix_datasets_run", "datasets", ["run_id", "role"])
    op.create_index(
        "uq_datasets_name", "datasets", ["tenant_id", "name"], unique=True, sqlite_where=NAMED, postgresql_where=NAMED
    )


def _make_dataset_parts() -> None:
    op.create_table(
        "dataset_parts",
        sa.Column("dataset_id", sa.String(40), sa.ForeignKey("datasets.id"), primary_key=True),
        sa.Column("ordinal", sa.BigInteger(), autoincrement=False, primary_key=True),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger()),
    )
    op.create_index("ix_dataset_parts_digest", "dataset_parts", ["digest"])
    op.create_index(
        "ix_dataset_parts_former", "dataset_parts", ["ordinal"], sqlite_where=FORMER, postgresql_where=FORMER
    )


def _make_dataset_files() -> None:
    op.create_table(
        "dataset_files",
        sa.Column("dataset_id", sa.String(40), sa.ForeignKey("datasets.id"), primary_key=True),
        sa.Column("path", sa.String(500), primary_key=True),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("content_type", sa.String(120), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_dataset_files_digest", "dataset_files", ["digest"])


def _make_uploads() -> None:
    op.create_table(
        "uploads",
        *_owned(),
        sa.Column("filename", sa.Text()),
        sa.Column("size_bytes", sa.BigInteger()),
        sa.Column("touched_at", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_uploads_age", "uploads", ["touched_at"])
    op.create_index("ix_uploads_list", "uploads", ["tenant_id", "created_at", "id"])


def _make_upload_parts() -> None:
    op.create_table(
        "upload_parts",
        sa.Column("upload_id", sa.String(40), sa.ForeignKey("uploads.id"), primary_key=True),
        sa.Column("number", sa.BigInteger(), autoincrement=False, primary_key=True),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_upload_parts_digest", "upload_parts", ["digest"])


def _owned() -> list[sa.Column[object]]:
    return [
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("tenant_id", sa.String(40), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
    ]


def _resource() -> list[sa.Column[object]]:
    return [
        *_owned(),
        sa.Column("display_name", sa.Text()),
        sa.Column("description", sa.Text()),
        sa.Column("tags", JSON, nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("edition", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("reason", sa.String(80)),
        sa.Column("message", sa.Text()),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger()),
    ]
