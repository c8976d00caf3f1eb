"""Receives a model file, as multipart or as the raw body, straight into the store: hashed, bounded, constant memory.

All that can be refused is refused before the store's last step, so that a refused upload leaves nothing behind.
"""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect

from api.dependencies import Context
from api.foreign import NOT_A_MODEL
from api.multipart import Form, file_name
from api.protobuf import ModelOutline
from api.sniff import HEAD_BYTES, ManifestSought, recognise, refusal
from core.errors import FieldProblem, PlatformError, StoreUnavailable, TooLarge, UnsupportedMediaType
from core.failpoints import failpoint
from state.blobs import touch_blob
from storage.base import BlobMissing, Stored

# What stands around the file in a multipart body: boundaries, headers, text fields.
FORM_ALLOWANCE_BYTES: Final = 2 * 1024 * 1024
DRAIN_S: Final = 4.0  # a refusal must not take five seconds
RAW_TYPES: Final = re.compile(
    r"application/(octet-stream|xml|pmml\+xml|x-onnx|onnx|vnd\.onnx|x-protobuf|protobuf|binary|zip|x-zip-compressed)"
    r"|text/xml"
)


@dataclass(frozen=True, slots=True)
class Received:
    """An upload that is in the store: what it is, and what the client said beside it."""

    stored: Stored
    format: str
    filename: str | None
    fields: Mapping[str, str]

    @property
    def body_sha256(self) -> str:
        """What tells this upload from another one under the same Idempotency-Key.

        A form is told by what it says and not by its bytes: clients draw a new boundary for every try.
        """
        if not self.fields:
            return self.stored.digest.hex
        return hashlib.sha256(json.dumps([self.stored.digest.hex, sorted(self.fields.items())]).encode()).hexdigest()


# Called with the form's fields when all bytes are there and nothing is kept yet; may raise.
CheckFields = Callable[[Mapping[str, str], str], Awaitable[None]]


def is_form(request: Request) -> bool:
    """Whether the body is multipart/form-data."""
    return media_type(request) == "multipart/form-data"


def is_json(request: Request) -> bool:
    """Whether the body says that it is JSON."""
    given = media_type(request)
    return given == "application/json" or given.endswith("+json")


async def receive(request: Request, context: Context, check: CheckFields, known: frozenset[str]) -> Received:
    """Stream the body into the store.

    Raises `TooLarge`, `Incomplete`, `FormatNotServed`, `InvalidArtifact`, what is wrong with the form, what `check`
    raises, `StoreUnavailable`; `UnsupportedMediaType` for a body that is neither a form nor a file.
    """
    try:
        received = await _receive(request, context, check, known)
    except PlatformError:
        await drain(request)
        raise
    failpoint("blob_before_touch")
    await keep(context, received.stored)
    failpoint("blob_before_version")
    return received


async def _receive(request: Request, context: Context, check: CheckFields, known: frozenset[str]) -> Received:
    limit = context.settings.max_upload_bytes
    if is_form(request):
        check_announced(request, limit + FORM_ALLOWANCE_BYTES, limit)
        form = Form(request.headers["content-type"], known)
        artifact = _Artifact(form.file_pieces(request.stream()), lambda: form.fields, check)
        stored = await context.store.put(artifact.pieces(), max_bytes=limit)
        return Received(stored, artifact.format, form.filename, form.fields)
    _check_raw(request)
    check_announced(request, limit, limit)
    artifact = _Artifact(request.stream(), dict, check)
    stored = await context.store.put(artifact.pieces(), max_bytes=limit, expected_bytes=announced_bytes(request))
    return Received(stored, artifact.format, raw_file_name(request), {})


class _Artifact:
    """The bytes on their way to the store, recognised from the first ones and checked to the last."""

    def __init__(
        self, source: AsyncIterator[bytes], fields: Callable[[], Mapping[str, str]], check: CheckFields
    ) -> None:
        self._source, self._fields, self._check = source, fields, check
        self._head = bytearray()
        self._outline: ModelOutline | ManifestSought | None = None
        self.format = ""

    async def pieces(self) -> AsyncIterator[bytes]:
        """What is stored, unchanged."""
        async for piece in self._source:
            if piece:
                self._look(piece)
                yield piece
        if not self.format:
            self._decide(is_whole=True)
        if self._outline:
            self._outline.finish()
        await self._check(self._fields(), self.format)

    def _look(self, piece: bytes) -> None:
        if self.format:
            if self._outline:
                self._outline.feed(piece)
            return
        self._head += piece
        if len(self._head) >= HEAD_BYTES:
            self._decide(is_whole=False)

    def _decide(self, *, is_whole: bool) -> None:
        head = bytes(self._head)
        self.format = recognise(head[:HEAD_BYTES], is_whole=is_whole)
        if self.format == "onnx":
            self._outline = ModelOutline()
            self._outline.feed(head)
        elif self.format == "parts":
            self._outline = ManifestSought(head)
        self._head.clear()


async def keep(context: Context, stored: Stored) -> None:
    """Say in the database that these bytes are in use, before any row refers to them (ARCHITECTURE, sentence 8).

    Raises `StoreUnavailable` when the sweeper was just deleting them.
    """
    async with context.database.write() as session:
        await touch_blob(session, str(stored.digest), stored.size_bytes)
    try:
        await context.store.stat(stored.digest)
    except BlobMissing as error:
        raise StoreUnavailable("the same bytes were just being deleted here; send the file again") from error


async def drain(request: Request) -> None:
    """Read on for a while where the connection ends with the answer: closing it on unread bytes resets it.

    A client that sends first and reads then would see the reset instead of the problem. On a connection that stays open
    the server itself skips the rest.
    """
    ends = "close" in request.headers.get("connection", "").lower() or request.scope.get("http_version") == "1.0"
    if not ends:
        return
    with suppress(TimeoutError, ClientDisconnect, PlatformError):
        async with asyncio.timeout(DRAIN_S):
            async for _ in request.stream():
                pass


def check_announced(
    request: Request,
    allowed_bytes: int,
    limit_bytes: int,
    pointer: str = "/file",
    setting: str = "PORTSIDE_MAX_UPLOAD_BYTES",
) -> None:
    """Raises `TooLarge` for a body that says of itself that it is."""
    announced = announced_bytes(request)
    if announced is not None and announced > allowed_bytes:
        detail = f"the announced body of {announced} bytes is larger than the limit of {limit_bytes} bytes"
        hint = f"upload a smaller file, or have {setting} raised"
        raise TooLarge(f"{detail}; {hint}", fields=[FieldProblem(pointer, detail, hint)], limit_bytes=limit_bytes)


def announced_bytes(request: Request) -> int | None:
    """The Content-Length, if there is one."""
    announced = request.headers.get("content-length", "")
    # Without its leading zeros: Python reads no number of more than 4,300 digits.
    return int(announced.lstrip("0")[:20] or "0") if announced.isdecimal() else None


def _check_raw(request: Request) -> None:
    given = media_type(request)
    if not given and request.headers.get("content-length", "") == "0":
        raise refusal(NOT_A_MODEL["empty"])
    if given and RAW_TYPES.fullmatch(given) is None:
        raise UnsupportedMediaType(
            f"an upload is multipart/form-data with a part 'file', the file itself as application/octet-stream, or "
            f"application/json with a 'source_uri'; '{given[:100]}' is none of them"
        )


def media_type(request: Request) -> str:
    """The type of the body in lower case, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def raw_file_name(request: Request) -> str | None:
    """The name that a `Content-Disposition` gives the body."""
    _, options = parse_options_header(request.headers.get("content-disposition", ""))
    return file_name(options.get(b"filename", b"").decode("utf-8", "replace"))
