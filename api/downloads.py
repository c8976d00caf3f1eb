"""Sends a blob: the whole or the range asked for; its ETag is its digest, so what a client has is not sent again."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api.dependencies import Context
from api.errors import problem
from api.headers import is_not_modified
from api.ranges import read_range
from storage.base import ByteRange, RangeNotSatisfiable
from storage.digests import Digest
from storage.packed import PackedFile, open_packed

# Of a route that sends one, in the API's description.
BYTES: Final[dict[str, Any]] = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


def digest_tag(digest: str) -> str:
    """The entity tag of a blob."""
    return f'"{digest}"'


async def send_blob(
    request: Request, context: Context, digest: str, disposition: str, media_type: str = "application/octet-stream"
) -> Response:
    """The blob with Range and ETag (RFC 9110); 304 and 416 where they belong. Raises `BlobMissing`."""
    blob = Digest.parse(digest)

    async def size_bytes() -> int:
        return await context.store.stat(blob)

    content = Content(digest, size_bytes, partial(context.store.open, blob))
    return await send(request, content, disposition, media_type)


async def send_packed(request: Request, context: Context, file: PackedFile, digest: str, disposition: str) -> Response:
    """The same for a file inside of a blob; `digest` is that of its own bytes."""

    async def size_bytes() -> int:
        await context.store.stat(file.blob)
        return file.size_bytes

    content = Content(digest, size_bytes, partial(open_packed, context.store, file))
    return await send(request, content, disposition, "application/octet-stream")


@dataclass(frozen=True, slots=True)
class Content:
    """What is sent: `size_bytes` raises where it is not there, `pieces` gives it or a range of it."""

    digest: str
    size_bytes: Callable[[], Awaitable[int]]
    pieces: Callable[[ByteRange | None], AsyncIterator[bytes]]


async def send(request: Request, content: Content, disposition: str, media_type: str) -> Response:
    """The content with Range and ETag (RFC 9110); 304 and 416 where they belong."""
    tag = digest_tag(content.digest)
    headers = {"ETag": tag, "Accept-Ranges": "bytes", "Cache-Control": "private, no-cache"}
    if is_not_modified(request, tag):
        return Response(status_code=304, headers=headers)
    size_bytes = await content.size_bytes()
    try:
        part = read_range(request, size_bytes, tag)
    except RangeNotSatisfiable as error:
        return problem(request.scope, error, {"Content-Range": f"bytes */{size_bytes}"})
    length_bytes = size_bytes
    if part is not None:
        stop = part.stop or size_bytes
        length_bytes = stop - part.start
        headers["Content-Range"] = f"bytes {part.start}-{stop - 1}/{size_bytes}"
    headers |= {"Content-Length": str(length_bytes), "Content-Disposition": disposition}
    # What somebody has uploaded is never a page of ours.
    headers |= {"X-Content-Type-Options": "nosniff"}
    return StreamingResponse(content.pieces(part), 206 if part else 200, headers, media_type=media_type)


def attachment(plain: str, name: str | None = None) -> str:
    """RFC 6266: a plain name for everybody, the given one for those who read RFC 8187."""
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name or plain)}"
