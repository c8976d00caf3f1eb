"""A dataset's data as one download: its blob, its parts one after the other, or an archive of what cannot be joined."""

import hashlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api.dependencies import Context
from api.downloads import Content, attachment, digest_tag, send
from api.headers import is_not_modified
from api.zips import Entry, zip_bytes, zip_pieces
from state.queries.datasets import Piece
from storage.base import ArtifactStore, ByteRange
from storage.digests import Digest

JOINABLE: Final = ("csv", "jsonl")  # the header of a CSV stands in the first part only
MEDIA_TYPES: Final = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.stream",
}
ENDINGS: Final = {"csv": "csv", "jsonl": "jsonl", "parquet": "parquet", "arrow": "arrow"}
COMPRESSED: Final = {"gzip": ("application/gzip", "gz"), "zstd": ("application/zstd", "zst")}


async def send_joined(
    request: Request, context: Context, pieces: Sequence[Piece], disposition: str, media_type: str
) -> Response:
    """The parts one after the other, or a range over the whole; the ETag is of theirs. Raises `BlobMissing`."""

    async def size_bytes() -> int:
        for piece in pieces:  # before the first byte: what is sent is promised with its length
            await context.store.stat(Digest.parse(piece.digest))
        return sum(piece.size_bytes for piece in pieces)

    content = Content(joined_digest(pieces), size_bytes, partial(_joined, context.store, pieces))
    return await send(request, content, disposition, media_type)


async def send_zip(request: Request, context: Context, entries: Sequence[Entry], name: str) -> Response:
    """The files as an archive that is made meanwhile; it has no ranges."""
    told = "\n".join(f"{each.digest} {each.name}" for each in entries)
    tag = digest_tag(f"sha256:{hashlib.sha256(told.encode()).hexdigest()}")
    headers = {"ETag": tag, "Accept-Ranges": "none", "Cache-Control": "private, no-cache"}
    if is_not_modified(request, tag):
        return Response(status_code=304, headers=headers)
    headers |= {"Content-Length": str(zip_bytes(entries)), "Content-Disposition": attachment(f"{name}.zip")}
    headers |= {"X-Content-Type-Options": "nosniff"}
    return StreamingResponse(zip_pieces(context.store, entries), 200, headers, media_type="application/zip")


def joined_digest(pieces: Sequence[Piece]) -> str:
    """Of one part its digest; of several the digest of these."""
    if len(pieces) == 1:
        return pieces[0].digest
    return f"sha256:{hashlib.sha256(' '.join(piece.digest for piece in pieces).encode()).hexdigest()}"


async def _joined(
    store: ArtifactStore, pieces: Sequence[Piece], byte_range: ByteRange | None
) -> AsyncGenerator[bytes, None]:
    start = 0 if byte_range is None else byte_range.start
    stop = sum(piece.size_bytes for piece in pieces)
    if byte_range is not None and byte_range.stop is not None:
        stop = min(stop, byte_range.stop)
    at = 0
    for piece in pieces:
        first, last = max(start - at, 0), min(stop - at, piece.size_bytes)
        at += piece.size_bytes
        if first >= last:
            continue
        async with aclosing(store.open(Digest.parse(piece.digest), ByteRange(first, last))) as opened:
            async for each in opened:
                yield each


def names_of(name: str, format: str | None, compression: str | None, filename: str | None) -> tuple[str, str]:
    """The disposition and the media type of a dataset's data."""
    ending, media = ENDINGS.get(format or "", "bin"), MEDIA_TYPES.get(format or "", "application/octet-stream")
    if compression in COMPRESSED:
        media, more = COMPRESSED[compression]
        ending = f"{ending}.{more}"
    return attachment(f"{name}.{ending}", filename), media
