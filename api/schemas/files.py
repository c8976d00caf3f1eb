"""Files: what an upload says beside the bytes, and how one is shown, in the vocabulary of Replicate's HTTP API."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ValidationError
from pydantic_core import PydanticCustomError

from api.downloads import digest_tag
from api.links import Links
from api.schemas.base import Answer, Body, Instant
from api.schemas.versions import read_object
from api.validation import rejection
from core.clock import to_micros
from core.errors import Json
from state.documents import instant
from state.tables import File
from storage.digests import Digest

LARGEST_METADATA_BYTES = 16 * 1024


def check_metadata(given: dict[str, object]) -> dict[str, object]:
    """Any JSON object that can be stored and shown again: finite numbers, at most 16 KiB."""
    if len(json.dumps(given)) > LARGEST_METADATA_BYTES:
        raise PydanticCustomError("metadata", "metadata have at most 16 KiB; put what is larger into a file")
    return given


class FileFields(Body):
    """The text parts of an upload."""

    metadata: Annotated[
        Annotated[dict[str, Any], AfterValidator(check_metadata)] | None, BeforeValidator(read_object)
    ] = None


class FileShown(Answer):
    """A file; `urls.content` answers its bytes. It is deleted some time after `expires_at`."""

    id: str
    name: str
    content_type: str
    size: int
    etag: str
    checksums: dict[str, str]
    metadata: dict[str, Any]
    created_at: Instant
    expires_at: Instant
    urls: dict[str, str]


class FilePage(Answer):
    """One page of files; `next` and `previous` are URLs of the pages around it."""

    results: list[FileShown]
    next: str | None
    previous: str | None
    total: int | None = None


def read_file_fields(given: Mapping[str, str]) -> FileFields:
    """A form's text parts, an empty one counted as absent. Raises `InvalidField`."""
    try:
        return FileFields.model_validate({name: text for name, text in given.items() if text != ""})
    except ValidationError as error:
        raise rejection(error.errors(include_url=False), FileFields) from error


def file_document(row: File, links: Links, kept_hours: int) -> dict[str, Json]:
    """The file object."""
    where = links.to(f"/api/v1/files/{row.id}")
    return {
        "id": row.id,
        "name": row.name,
        "content_type": row.content_type,
        "size": row.size_bytes,
        "etag": digest_tag(row.digest),
        "checksums": {"sha256": Digest.parse(row.digest).hex},
        "metadata": row.about,
        "created_at": instant(row.created_at),
        "expires_at": instant(row.created_at + to_micros(timedelta(hours=kept_hours))),
        "urls": {"get": where, "content": f"{where}/content"},
    }
