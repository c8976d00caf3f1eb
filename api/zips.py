"""A zip archive of blobs that is made while it is sent: nothing is compressed, so that its length is known before.

APPNOTE.TXT 6.3: stored entries (4.4.5) with data descriptors (4.3.9), for a checksum is known only behind its bytes;
zip64 throughout (4.5.3). The same files give the same bytes: there are no times in it.
"""

import struct
import zlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from storage.base import ArtifactStore
from storage.digests import Digest

FLAGS: Final = 0x0008 | 0x0800  # a data descriptor follows; the name is UTF-8
NEEDS: Final = 45  # the version that knows zip64
NO_DATE: Final = 0x0021  # 1980-01-01, the first day that there is
MANY: Final = 0xFFFFFFFF  # see the extra field
REGULAR_FILE: Final = 0o100644 << 16
LOCAL_BYTES, DESCRIPTOR_BYTES, CENTRAL_BYTES, END_BYTES = 30 + 20, 24, 46 + 28, 56 + 20 + 22


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the archive."""

    name: str
    digest: str
    size_bytes: int


def zip_bytes(entries: Sequence[Entry]) -> int:
    """How long the archive will be."""
    around = LOCAL_BYTES + DESCRIPTOR_BYTES + CENTRAL_BYTES
    return sum(around + 2 * len(each.name.encode()) + each.size_bytes for each in entries) + END_BYTES


async def zip_pieces(store: ArtifactStore, entries: Sequence[Entry]) -> AsyncGenerator[bytes, None]:
    """The archive from its first byte on. Raises `BlobMissing`, `StoreUnavailable`."""
    directory: list[bytes] = []
    at = 0
    for each in entries:
        name = each.name.encode()
        yield _local(name, each.size_bytes)
        checksum = 0
        async with aclosing(store.open(Digest.parse(each.digest))) as opened:
            async for piece in opened:
                checksum = zlib.crc32(piece, checksum)
                yield piece
        yield struct.pack("<4sIQQ", b"PK\x07\x08", checksum, each.size_bytes, each.size_bytes)
        directory.append(_central(name, each.size_bytes, checksum, at))
        at += LOCAL_BYTES + len(name) + each.size_bytes + DESCRIPTOR_BYTES
    for record in directory:
        yield record
    yield _end(len(entries), sum(map(len, directory)), at)


def _local(name: bytes, size_bytes: int) -> bytes:
    extra = struct.pack("<HHQQ", 1, 16, size_bytes, size_bytes)
    head = ("<4sHHHHHIIIHH", b"PK\x03\x04", NEEDS, FLAGS, 0, 0, NO_DATE, 0, MANY, MANY, len(name), len(extra))
    return struct.pack(*head) + name + extra


def _central(name: bytes, size_bytes: int, checksum: int, at: int) -> bytes:
    extra = struct.pack("<HHQQQ", 1, 24, size_bytes, size_bytes, at)
    made_by = 3 << 8 | NEEDS  # Unix
    head = struct.pack(
        "<4sHHHHHHIIIHHHHHII",
        *(b"PK\x01\x02", made_by, NEEDS, FLAGS, 0, 0, NO_DATE, checksum, MANY, MANY),
        *(len(name), len(extra), 0, 0, 0, REGULAR_FILE, MANY),
    )
    return head + name + extra


def _end(count: int, directory_bytes: int, at: int) -> bytes:
    whole = ("<4sQHHIIQQQQ", b"PK\x06\x06", 44, NEEDS, NEEDS, 0, 0, count, count, directory_bytes, at)
    where = ("<4sIQI", b"PK\x06\x07", 0, at + directory_bytes, 1)
    few = min(count, 0xFFFF)
    end = ("<4sHHHHIIH", b"PK\x05\x06", 0, 0, few, few, MANY, MANY, 0)
    return b"".join(struct.pack(*each) for each in (whole, where, end))
