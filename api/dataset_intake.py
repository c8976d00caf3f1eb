"""Receives a dataset's file, as a form or as the body itself, straight into the store, in constant memory.

What is in it is for the description to find; all that can be refused here is refused before the store's last step.
"""

import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import Query
from starlette.requests import Request

from api.bodies import LINES
from api.dependencies import Context
from api.multipart import Form
from api.mutations import Call
from api.schemas.datasets import FORM_FIELDS, HINTS, DatasetFields, read_dataset_fields
from api.uploads import (
    FORM_ALLOWANCE_BYTES,
    announced_bytes,
    check_announced,
    drain,
    is_form,
    keep,
    media_type,
    raw_file_name,
)
from core.errors import FieldProblem, InvalidField, PlatformError, UnsupportedMediaType
from core.failpoints import failpoint
from state.datasets import name_taken
from state.queries.datasets import Piece, seek_dataset
from storage.base import Stored

SETTING: Final = "PORTSIDE_MAX_DATASET_BYTES"
RAW_TYPES: Final = frozenset(
    {
        *("", "application/octet-stream", "binary/octet-stream", "text/csv", "text/tab-separated-values", "text/plain"),
        *LINES,
        *("application/vnd.apache.parquet", "application/x-parquet", "application/parquet"),
        *("application/vnd.apache.arrow.stream", "application/vnd.apache.arrow.file"),
        *("application/gzip", "application/x-gzip", "application/zstd"),
        *("application/zip", "application/x-zip-compressed", "application/x-tar"),
    }
)


@dataclass(frozen=True, slots=True)
class RawFields:
    """What the query says beside a raw body; a form and a JSON body say it themselves."""

    name: Annotated[str | None, Query(description="The dataset's name.")] = None
    kind: Annotated[str | None, Query(description="`table`, or `files` for an archive.")] = None
    display_name: Annotated[str | None, Query()] = None
    description: Annotated[str | None, Query()] = None
    tags: Annotated[str | None, Query(description="Names with commas between them.")] = None
    format: Annotated[str | None, Query(description="`csv tsv jsonl parquet arrow`; found where it is left out.")] = (
        None
    )
    compression: Annotated[str | None, Query(description="`gzip` or `zstd`.")] = None
    delimiter: Annotated[str | None, Query(description="Of CSV: one character, or `tab`.")] = None
    quote: Annotated[str | None, Query(description="Of CSV: the character around a cell.")] = None
    encoding: Annotated[str | None, Query(description="`utf-8`, `utf-16`, `latin-1`, …")] = None
    has_header: Annotated[str | None, Query(description="Of CSV: its first line names columns.")] = None
    null_values: Annotated[str | None, Query(description="Of CSV: what says nothing, with commas between.")] = None

    def given(self) -> dict[str, str]:
        """Those that say something."""
        names = ("name", "kind", "display_name", "description", "tags", *HINTS)
        return {name: value for name in names if (value := getattr(self, name))}

    def refuse(self) -> None:
        """Raises `InvalidField` for what stands in the query where the body says it."""
        for name in self.given():
            detail, hint = f"'{name}' stands in the query of a body that has fields of its own", "say it in the body"
            raise InvalidField(f"{detail}; {hint}", fields=[FieldProblem(f"/{name}", detail, hint)])


@dataclass(frozen=True, slots=True)
class Received:
    """A file that is in the store, and what was said beside it."""

    stored: Stored
    filename: str | None
    fields: DatasetFields
    said: Mapping[str, str]

    @property
    def piece(self) -> Piece:
        """The file as a dataset's only part."""
        return Piece(str(self.stored.digest), self.stored.size_bytes)

    @property
    def body_sha256(self) -> str:
        """What tells this upload from another one under the same Idempotency-Key, whatever its boundary."""
        told = json.dumps([self.stored.digest.hex, self.filename, sorted(self.said.items())])
        return hashlib.sha256(told.encode()).hexdigest()


async def receive_dataset(call: Call, query: RawFields) -> Received:
    """Stream the body into the store.

    Raises `TooLarge`, `Incomplete`, what is wrong with the fields, `NameTaken`, `StoreUnavailable`;
    `UnsupportedMediaType` for a body that is neither a form nor a file.
    """
    try:
        async with call.receiving():
            received = await _receive(call, query)
    except PlatformError:
        await drain(call.request)
        raise
    failpoint("blob_before_version")
    return received


async def _receive(call: Call, query: RawFields) -> Received:
    request, context = call.request, call.context
    limit = context.settings.max_dataset_bytes
    if is_form(request):
        query.refuse()
        check_announced(request, limit + FORM_ALLOWANCE_BYTES, limit, setting=SETTING)
        form = Form(request.headers["content-type"], FORM_FIELDS)
        checked: list[DatasetFields] = []

        async def pieces() -> AsyncIterator[bytes]:
            async for piece in form.file_pieces(request.stream()):
                yield piece
            checked.append(await _checked(call, form.fields))

        stored = await context.store.put(pieces(), max_bytes=limit)
        await _keep(context, stored)
        return Received(stored, form.filename, checked[0], form.fields)
    _check_raw(request)
    fields = await _checked(call, query.given())
    check_announced(request, limit, limit, setting=SETTING)
    stored = await context.store.put(request.stream(), max_bytes=limit, expected_bytes=announced_bytes(request))
    await _keep(context, stored)
    return Received(stored, raw_file_name(request), fields, query.given())


async def _checked(call: Call, given: Mapping[str, str]) -> DatasetFields:
    """The fields, for a name that is free. A replay finds its own dataset there, which is no conflict."""
    fields = read_dataset_fields(given)
    if call.key is None:
        async with call.context.database.read() as session:
            taken = await seek_dataset(session, call.who.tenant_id, fields.name)
        if taken is not None:
            raise name_taken(taken)
    return fields


async def _keep(context: Context, stored: Stored) -> None:
    failpoint("blob_before_touch")
    await keep(context, stored)


def _check_raw(request: Request) -> None:
    given = media_type(request)
    if given not in RAW_TYPES:
        raise UnsupportedMediaType(
            f"a dataset is multipart/form-data with a part 'file', the file itself as text/csv, application/x-ndjson, "
            f"application/vnd.apache.parquet or application/octet-stream, or application/json that says where it is; "
            f"'{given[:100]}' is none of them"
        )


_TEXT: Final = {"type": "string"}
FORM_CONTENT: Final[dict[str, Any]] = {
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "required": ["name", "file"],
            "additionalProperties": False,
            "properties": {
                "file": {"type": "string", "format": "binary", "description": "The data, or an archive of files."},
                "name": {**_TEXT, "description": "The dataset's name.", "examples": ["customers"]},
                "kind": {**_TEXT, "enum": ["table", "files"]},
                "display_name": _TEXT,
                "description": _TEXT,
                "tags": {**_TEXT, "description": "A JSON list, or names with commas between them."},
                "format": {**_TEXT, "enum": ["csv", "tsv", "jsonl", "parquet", "arrow"]},
                "compression": {**_TEXT, "enum": ["gzip", "zstd"]},
                "delimiter": {**_TEXT, "description": "Of CSV: one character, or `tab`."},
                "quote": _TEXT,
                "encoding": _TEXT,
                "has_header": {**_TEXT, "enum": ["true", "false"]},
                "null_values": {**_TEXT, "description": "A JSON list, or texts with commas between them."},
            },
        }
    }
}
# The one type that generators of clients know for bytes; `text/csv` and the like are taken as well.
RAW_CONTENT: Final[dict[str, Any]] = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
