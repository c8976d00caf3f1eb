"""A file inside of an archive is read where it lies: whole or a range, as it is or inflated, never the others."""

import asyncio
import threading
import zlib
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from random import Random

import pytest

from core.errors import StoreUnavailable
from storage import packed
from storage.base import BlobMissing, ByteRange
from storage.digests import Digest
from storage.local import LocalStore
from storage.packed import PackedFile, open_packed

# Half of it repeats itself, so that its packed pieces unfold to more and to less than they are.
CONTENT = Random(7).randbytes(50_000) + bytes(150_000)
BEFORE, AFTER = b"PK before", b"after"


def deflated(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[LocalStore]:
    store = LocalStore(tmp_path)
    yield store
    await store.close()


async def put(store: LocalStore, inside: bytes, *, is_deflated: bool, size_bytes: int = len(CONTENT)) -> PackedFile:
    """A blob with these bytes between others."""

    async def pieces() -> AsyncIterator[bytes]:
        yield BEFORE + inside + AFTER

    stored = await store.put(pieces())
    return PackedFile(stored.digest, len(BEFORE), len(inside), size_bytes, is_deflated)


async def content_of(store: LocalStore, file: PackedFile, asked: ByteRange | None = None) -> bytes:
    async with aclosing(open_packed(store, file, asked)) as pieces:
        return b"".join([piece async for piece in pieces])


@pytest.mark.parametrize("is_deflated", [False, True])
@pytest.mark.parametrize(
    ("start", "stop"), [(0, None), (0, 1), (0, 200_000), (49_999, 50_001), (123_456, None), (199_999, 300_000), (7, 8)]
)
async def test_every_range_is_that_of_the_file(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, is_deflated: bool, start: int, stop: int | None
) -> None:
    monkeypatch.setattr(packed, "PIECE_BYTES", 1000)  # so that a range begins and ends within and between pieces
    file = await put(store, deflated(CONTENT) if is_deflated else CONTENT, is_deflated=is_deflated)
    assert await content_of(store, file, ByteRange(start, stop)) == CONTENT[start:stop]
    assert await content_of(store, file) == CONTENT


async def test_what_unfolds_without_measure_comes_in_pieces(store: LocalStore) -> None:
    size_bytes = 5 * packed.PIECE_BYTES
    file = await put(store, deflated(bytes(size_bytes)), is_deflated=True, size_bytes=size_bytes)
    async with aclosing(open_packed(store, file)) as pieces:
        lengths = [len(piece) async for piece in pieces]
    assert sum(lengths) == size_bytes
    assert max(lengths) <= packed.PIECE_BYTES


@pytest.mark.parametrize("inside", [deflated(CONTENT)[:-100], b"\xff" * 100, deflated(CONTENT[:-1])])
async def test_other_bytes_than_were_said_are_no_whole_file(store: LocalStore, inside: bytes) -> None:
    file = await put(store, inside, is_deflated=True)
    with pytest.raises(StoreUnavailable):
        await content_of(store, file)


async def test_more_bytes_than_were_said_are_not_sent(store: LocalStore) -> None:
    file = await put(store, deflated(CONTENT), is_deflated=True, size_bytes=1000)
    assert await content_of(store, file) == CONTENT[:1000]


@pytest.mark.parametrize("is_deflated", [False, True])
async def test_a_blob_that_is_gone_is_missing(store: LocalStore, is_deflated: bool) -> None:
    file = PackedFile(Digest.parse(f"sha256:{'0' * 64}"), 0, 10, 10, is_deflated)
    with pytest.raises(BlobMissing):
        await content_of(store, file)


async def test_many_readers_keep_few_cores_busy(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "PIECE_BYTES", 1000)
    file = await put(store, deflated(CONTENT), is_deflated=True)
    assert await asyncio.gather(*(content_of(store, file) for _ in range(20))) == [CONTENT] * 20
    busy = [thread.name for thread in threading.enumerate() if thread.name.startswith("inflate")]
    assert 1 <= len(busy) <= packed.INFLATED_AT_ONCE
