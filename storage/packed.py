"""Files inside of a blob, such as those of a zip archive: read where they lie, without unpacking the others.

Whoever has read the archive's directory says where; a deflated file (RFC 1951) is inflated as it is sent.
"""

import asyncio
import zlib
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from core.errors import StoreUnavailable
from storage.base import ArtifactStore, ByteRange
from storage.digests import Digest
from storage.threads import step_back

PIECE_BYTES: Final = 1024 * 1024  # inflated at a time, however much the packed bytes would unfold to
INFLATED_AT_ONCE: Final = 2  # each keeps a core busy; a piece waits for its turn, so that a slow reader holds up nobody
_THREADS: Final = ThreadPoolExecutor(INFLATED_AT_ONCE, thread_name_prefix="inflate", initializer=step_back)


@dataclass(frozen=True, slots=True)
class PackedFile:
    """One file in a blob: where its packed bytes are, and how many they are when they are unpacked."""

    blob: Digest
    offset_bytes: int
    packed_bytes: int
    size_bytes: int
    is_deflated: bool


async def open_packed(
    store: ArtifactStore, file: PackedFile, byte_range: ByteRange | None = None
) -> AsyncGenerator[bytes, None]:
    """The file, or a range of it, in pieces. What lies before the range of a deflated file is inflated and dropped.

    Raises `BlobMissing`, and `StoreUnavailable` where the blob has other bytes than were said.
    """
    start, stop = (byte_range.start, byte_range.stop) if byte_range else (0, None)
    stop = file.size_bytes if stop is None else min(stop, file.size_bytes)
    if not file.is_deflated:
        async with aclosing(store.open(file.blob, _within(file, start, stop))) as pieces:
            async for piece in pieces:
                yield piece
        return
    position = 0
    async with aclosing(_inflated(store, file)) as pieces:
        async for piece in pieces:
            wanted = piece[max(0, start - position) : stop - position]
            position += len(piece)
            if wanted:
                yield wanted
            if position >= stop:
                return
    raise StoreUnavailable(f"the packed file in {file.blob} ends after {position} of {file.size_bytes} bytes")


def _within(file: PackedFile, start: int, stop: int) -> ByteRange:
    return ByteRange(file.offset_bytes + start, file.offset_bytes + stop)


async def _inflated(store: ArtifactStore, file: PackedFile) -> AsyncGenerator[bytes, None]:
    loop = asyncio.get_running_loop()
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    async with aclosing(store.open(file.blob, _within(file, 0, file.packed_bytes))) as pieces:
        async for packed in pieces:
            while packed and not inflater.eof:
                try:
                    piece = await loop.run_in_executor(_THREADS, inflater.decompress, packed, PIECE_BYTES)
                except zlib.error as error:
                    raise StoreUnavailable(f"the packed file in {file.blob} cannot be inflated: {error}") from error
                packed = inflater.unconsumed_tail
                if piece:
                    yield piece
