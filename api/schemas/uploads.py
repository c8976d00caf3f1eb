"""Uploads in parts: what is said of one, and how it and its parts are shown."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field

from api.links import Links
from api.multipart import file_name
from api.schemas.base import Answer, Body, Instant, shown_as
from core.clock import to_micros
from core.errors import Json
from state.datatables import Upload, UploadPart
from state.documents import instant


class UploadCreate(Body):
    """A file that is to come in parts."""

    model_config = shown_as({"filename": "customers.parquet", "size_bytes": 5368709120})

    filename: Annotated[str, Field(max_length=1000), AfterValidator(file_name)] | None = None
    size_bytes: Annotated[
        int | None, Field(ge=0, le=2**53, description="Of all parts together; then they are held against it.")
    ] = None


class UploadPartShown(Answer):
    """A part that is here."""

    number: int
    size_bytes: int
    digest: str


class UploadShown(Answer):
    """An upload; a dataset that is made of it takes it over. It is deleted when nobody comes until `expires_at`."""

    id: str
    filename: str | None
    size_bytes: int | None
    received_bytes: int
    parts: list[UploadPartShown]
    created_at: Instant
    expires_at: Instant
    url: str


class UploadSummary(Answer):
    """An upload in a list, without its parts."""

    id: str
    filename: str | None
    size_bytes: int | None
    created_at: Instant
    expires_at: Instant
    url: str


class UploadPage(Answer):
    """One page of uploads."""

    items: list[UploadSummary]
    next_page_token: str | None
    total: int | None = None


def upload_summary(row: Upload, links: Links, kept_hours: int) -> dict[str, Json]:
    """The upload object without its parts."""
    return {
        "id": row.id,
        "filename": row.filename,
        "size_bytes": row.size_bytes,
        "created_at": instant(row.created_at),
        "expires_at": instant(row.touched_at + to_micros(timedelta(hours=kept_hours))),
        "url": links.to(f"/api/v1/uploads/{row.id}"),
    }


def upload_document(row: Upload, parts: Sequence[UploadPart], links: Links, kept_hours: int) -> dict[str, Json]:
    """The upload object."""
    return {
        **upload_summary(row, links, kept_hours),
        "received_bytes": sum(part.size_bytes for part in parts),
        "parts": [part_document(part) for part in parts],
    }


def part_document(row: UploadPart) -> dict[str, Json]:
    """One part."""
    return {"number": row.number, "size_bytes": row.size_bytes, "digest": row.digest}
