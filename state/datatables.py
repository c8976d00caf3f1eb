"""The tables of datasets: named data that a run reads or writes, and uploads that come in parts.

A dataset of kind `table` has its rows in ordered parts, each a blob and a file of its own; one of kind `files` has
many files. What is in it is found by `serving data describe` in a child and kept here.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from core.errors import Json
from state.tables import NAMED, Base, Owned, Resource

FORMER = text("ordinal < 0")
LARGE = ("columns",)  # up to megabytes: only who needs them reads them
READ_BY = ("name", "type", "arrow_type", "nullable")  # what a reader needs to know of a column


class Dataset(Base, Resource):
    """`generation` rises when an output is replaced as a whole; a reader pins the parts that it began with."""

    __tablename__ = "datasets"
    name: Mapped[str] = mapped_column(String(48))
    kind: Mapped[str] = mapped_column(String(10))  # table | files
    source_uri: Mapped[str | None] = mapped_column(Text)
    is_reference: Mapped[bool] = mapped_column(default=False)  # read at its source when a run begins, never copied
    source_etag: Mapped[str | None] = mapped_column(Text)  # what a reference is pinned to
    credential_sealed: Mapped[str | None] = mapped_column(Text)
    upload_id: Mapped[str | None] = mapped_column(String(40))  # while its parts are put together
    run_id: Mapped[str | None] = mapped_column(String(40))  # that wrote it
    role: Mapped[str | None] = mapped_column(String(20))  # for its run: output | bad_rows | input, a copy of its URI
    filename: Mapped[str | None] = mapped_column(Text)
    digest: Mapped[str | None] = mapped_column(String(71))  # of the file, where it is one
    size_bytes: Mapped[int | None]
    hints: Mapped[dict[str, Any]]  # what its owner said of the format
    format: Mapped[str | None] = mapped_column(String(20))  # csv | jsonl | parquet | arrow
    layout: Mapped[dict[str, Any] | None]  # how it is read: serving.data's Format without its columns
    rows: Mapped[int | None]
    rows_are_estimated: Mapped[bool] = mapped_column(default=False)
    warnings: Mapped[list[Any] | None]
    preview_digest: Mapped[str | None] = mapped_column(String(71))  # a JSON document with its first rows
    files: Mapped[int | None]  # how many, of kind `files`
    column_count: Mapped[int | None]
    # With types and statistics; the last one: SQLite reads through what stands before a column (see `LARGE`).
    columns: Mapped[list[Any] | None]
    __table_args__ = (
        Index("uq_datasets_name", "tenant_id", "name", unique=True, sqlite_where=NAMED, postgresql_where=NAMED),
        Index("ix_datasets_list", "tenant_id", "created_at", "id"),
        Index("ix_datasets_digest", "digest"),
        Index("ix_datasets_preview", "preview_digest"),
        Index("ix_datasets_run", "run_id", "role"),
    )

    @property
    def reading(self) -> Mapping[str, Json] | None:
        """How it is read, as `serving.data` has it: its layout with its columns."""
        if self.layout is None:
            return None
        columns = [{name: each[name] for name in READ_BY if name in each} for each in self.columns or ()]
        return {"columns": columns, **self.layout}


class DatasetPart(Base):
    """One piece of a table, in order; a dataset that was uploaded has one.

    Ordinals below zero are parts of a former generation, kept while a run may read them.
    """

    __tablename__ = "dataset_parts"
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"), primary_key=True)
    ordinal: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    digest: Mapped[str] = mapped_column(String(71))
    size_bytes: Mapped[int]
    rows: Mapped[int | None]
    __table_args__ = (
        Index("ix_dataset_parts_digest", "digest"),
        Index("ix_dataset_parts_former", "ordinal", sqlite_where=FORMER, postgresql_where=FORMER),
    )


class DatasetFile(Base):
    """One file of a dataset of files, under its path."""

    __tablename__ = "dataset_files"
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"), primary_key=True)
    path: Mapped[str] = mapped_column(String(500), primary_key=True)
    digest: Mapped[str] = mapped_column(String(71))
    size_bytes: Mapped[int]
    content_type: Mapped[str] = mapped_column(String(120))
    created_at: Mapped[int]
    __table_args__ = (Index("ix_dataset_files_digest", "digest"),)


class Upload(Base, Owned):
    """A file on its way in parts; it goes with its parts once it is used, or when nobody came for long."""

    __tablename__ = "uploads"
    filename: Mapped[str | None] = mapped_column(Text)
    size_bytes: Mapped[int | None]  # as announced
    touched_at: Mapped[int]
    __table_args__ = (Index("ix_uploads_list", "tenant_id", "created_at", "id"), Index("ix_uploads_age", "touched_at"))


class UploadPart(Base):
    """One part of an upload, by its number from 1; sent again it takes the place of the former."""

    __tablename__ = "upload_parts"
    upload_id: Mapped[str] = mapped_column(ForeignKey("uploads.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    digest: Mapped[str] = mapped_column(String(71))
    size_bytes: Mapped[int]
    __table_args__ = (Index("ix_upload_parts_digest", "digest"),)
