"""Receives a client's file as a form straight into the store; whatever is refused leaves nothing behind.

An input may name a file that is here.
"""

import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request

from api.dependencies import Context
from api.multipart import Form
from api.schemas.files import FileFields, read_file_fields
from api.uploads import FORM_ALLOWANCE_BYTES, check_announced, drain, is_form, keep
from core.errors import FieldProblem, InvalidField, Json, PlatformError, UnsupportedMediaType
from state.database import WriteSession
from state.queries.files import NewFile, named_files, stored_files

PART: Final = "content"  # as Replicate's clients call it
FIELDS: Final = frozenset(FileFields.model_fields)
UNNAMED, UNTYPED = "file", "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Lent:
    """A file that is in the store, and what tells this upload from another one under the same Idempotency-Key."""

    file: NewFile
    body_sha256: str


async def receive_file(request: Request, context: Context) -> Lent:
    """Stream the form into the store.

    Raises `TooLarge`, `Incomplete`, what is wrong with the form, `StoreUnavailable`; `UnsupportedMediaType` for a body
    that is no form.
    """
    try:
        return await _receive(request, context)
    except PlatformError:
        await drain(request)
        raise


async def _receive(request: Request, context: Context) -> Lent:
    if not is_form(request):
        raise UnsupportedMediaType(
            f"a file comes as multipart/form-data with the part '{PART}': curl -F {PART}=@FILE …"
        )
    limit = context.settings.max_upload_bytes
    check_announced(request, limit + FORM_ALLOWANCE_BYTES, limit, f"/{PART}")
    form = Form(request.headers["content-type"], FIELDS, PART)
    checked: list[FileFields] = []

    async def pieces() -> AsyncIterator[bytes]:
        async for piece in form.file_pieces(request.stream()):
            yield piece
        checked.append(read_file_fields(form.fields))  # before the store's last step

    stored = await context.store.put(pieces(), max_bytes=limit)
    await keep(context, stored)
    about = checked[0].metadata or {}
    name, content_type = form.filename or UNNAMED, form.file_type or UNTYPED
    told = json.dumps([stored.digest.hex, name, content_type, about], sort_keys=True)
    new = NewFile(str(stored.digest), stored.size_bytes, name, content_type, about)
    return Lent(new, hashlib.sha256(told.encode()).hexdigest())


async def check_files(session: WriteSession, tenant_id: str, document: Json) -> None:
    """Raises `InvalidField` naming where an input means a file that is not there, or too many."""
    named = named_files(document)
    if not named:
        return
    there = await stored_files(session, tenant_id, {each.file_id for each in named})
    hint = "upload it at /api/v1/files"
    fields = [
        FieldProblem(each.pointer, f"there is no file '{each.file_id[:60]}'", hint)
        for each in named
        if each.file_id not in there
    ]
    if fields:
        raise InvalidField(f"{fields[0].pointer}: {fields[0].detail}; {hint}", fields=fields[:20])
