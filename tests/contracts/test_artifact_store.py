"""What every artifact store promises: a directory, and a bucket of two S3 servers that differ."""

import asyncio
import gc
import hashlib
import os
import sys
import tracemalloc
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from core.errors import Incomplete, TooLarge
from deploy.stack.minio import BUCKET
from storage.access import Patience
from storage.base import BATCH_BYTES, ArtifactStore, BlobMissing, ByteRange, RangeNotSatisfiable
from storage.digests import Digest
from storage.local import LocalStore
from storage.remote import PART_BYTES, S3Store
from storage.s3 import S3Bucket
from tests.storage.servers import S3Server, access_of, running_minio, running_rclone
from tests.storage.streams import cut_off, pieces_of, repeated, standing_still

ROOT = Path(__file__).parents[2]

PATIENCE_S = 60
NOW = timedelta(0)
ABSENT = Digest("0" * 64)
SEVERAL_BATCHES = os.urandom(2 * BATCH_BYTES + 12_345)
SEVERAL_PARTS = os.urandom(PART_BYTES + 1_234_567)


@dataclass(frozen=True)
class Backend:
    """A store, how another process finds the same one, and whether it knows which writers live."""

    url: str
    store: ArtifactStore
    environment: dict[str, str]
    knows_writers: bool


@pytest.fixture(scope="module")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running_minio(tmp_path_factory.mktemp("minio")) as server:
        yield S3Server(BUCKET, access_of(server))


@pytest.fixture(scope="module")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running_rclone(tmp_path_factory.mktemp("rclone")) as server:
        yield server


@pytest.fixture(params=["directory", "minio", "rclone"])
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    if request.param == "directory":
        folder = tmp_path / "store"
        backend = Backend(folder.as_uri(), LocalStore(folder), {}, knows_writers=True)
    else:
        server: S3Server = request.getfixturevalue(request.param)
        prefix = uuid.uuid4().hex
        bucket = S3Bucket(server.bucket, server.access, Patience())
        store = S3Store(bucket, f"{prefix}/", abandoned_after=NOW)
        backend = Backend(f"s3://{server.bucket}/{prefix}", store, server.environment, knows_writers=False)
    yield backend
    await backend.store.close()


@pytest.fixture
def store(backend: Backend) -> ArtifactStore:
    return backend.store


async def read(store: ArtifactStore, digest: Digest, byte_range: ByteRange | None = None) -> bytes:
    return b"".join([piece async for piece in store.open(digest, byte_range)])


async def listed(store: ArtifactStore) -> list[Digest]:
    return sorted([digest async for digest in store.list()])


@pytest.mark.parametrize(
    "data",
    [b"", b"x", b"y" * BATCH_BYTES, SEVERAL_BATCHES, b"z" * PART_BYTES, SEVERAL_PARTS],
    ids=["empty", "one", "batch", "batches", "part", "parts"],
)
async def test_what_was_put_comes_back_under_its_sha256(store: ArtifactStore, data: bytes) -> None:
    stored = await store.put(pieces_of(data), expected_bytes=len(data), max_bytes=len(data))
    assert str(stored.digest) == "sha256:" + hashlib.sha256(data).hexdigest()
    assert stored.size_bytes == len(data) == await store.stat(stored.digest)
    assert await read(store, stored.digest) == data
    assert await listed(store) == [stored.digest]


async def test_pieces_of_any_size_are_taken(store: ArtifactStore) -> None:
    tiny = await store.put(pieces_of(SEVERAL_BATCHES[:5_000], piece_bytes=1))
    whole = await store.put(pieces_of(SEVERAL_BATCHES, piece_bytes=len(SEVERAL_BATCHES)))
    assert await read(store, tiny.digest) == SEVERAL_BATCHES[:5_000]
    assert await read(store, whole.digest) == SEVERAL_BATCHES


async def test_the_same_bytes_again_are_the_same_blob(store: ArtifactStore) -> None:
    first = await store.put(pieces_of(b"the same"))
    assert await store.put(pieces_of(b"the same", piece_bytes=3)) == first
    assert await listed(store) == [first.digest]


async def test_the_same_bytes_can_be_put_many_times_at_once(store: ArtifactStore) -> None:
    results = await asyncio.gather(*(store.put(pieces_of(SEVERAL_PARTS)) for _ in range(4)))
    assert len(set(results)) == 1
    assert await read(store, results[0].digest) == SEVERAL_PARTS
    assert await store.sweep_partial(NOW) == 0


async def test_a_reader_finishes_although_the_same_bytes_are_put_and_deleted_meanwhile(store: ArtifactStore) -> None:
    stored = await store.put(pieces_of(SEVERAL_BATCHES))
    async with aclosing(store.open(stored.digest)) as pieces:
        received = [await anext(pieces)]
        await store.put(pieces_of(SEVERAL_BATCHES))
        await store.delete(stored.digest)
        received += [piece async for piece in pieces]
    assert b"".join(received) == SEVERAL_BATCHES


@pytest.mark.parametrize("data", [SEVERAL_BATCHES, SEVERAL_PARTS], ids=["batches", "parts"])
async def test_nothing_is_visible_before_the_last_byte(store: ArtifactStore, data: bytes) -> None:
    reached = asyncio.Event()
    upload = asyncio.create_task(store.put(standing_still(data, reached)))
    await asyncio.wait_for(reached.wait(), PATIENCE_S)
    assert await listed(store) == []
    assert await store.sweep_partial(NOW) == 0, "an upload under way was swept"
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    assert await listed(store) == []
    assert await store.sweep_partial(NOW) == 0, "a cancelled upload left something behind"


async def test_an_upload_can_be_cancelled_at_its_very_start(store: ArtifactStore) -> None:
    uploads = [asyncio.create_task(store.put(pieces_of(SEVERAL_PARTS))) for _ in range(20)]
    for pauses, upload in enumerate(uploads):
        for _ in range(pauses % 5):
            await asyncio.sleep(0)
        upload.cancel()
    await asyncio.gather(*uploads, return_exceptions=True)
    assert await listed(store) == []
    assert await store.sweep_partial(NOW) == 0


@pytest.mark.parametrize("data", [SEVERAL_BATCHES, SEVERAL_PARTS], ids=["batches", "parts"])
async def test_a_stream_that_breaks_leaves_nothing_and_its_error_passes(store: ArtifactStore, data: bytes) -> None:
    with pytest.raises(ConnectionResetError):
        await store.put(cut_off(data))
    assert await listed(store) == []
    assert await store.sweep_partial(NOW) == 0


async def test_a_process_killed_within_a_put_leaves_nothing_that_can_be_seen_or_stays(backend: Backend) -> None:
    command = [sys.executable, "-m", "tests.storage.half_a_put", backend.url]
    environment = {**os.environ, **backend.environment}
    child = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert await asyncio.wait_for(child.stdout.readline(), PATIENCE_S) == b"half\n"
        spared = NOW if backend.knows_writers else timedelta(hours=1)
        assert await backend.store.sweep_partial(spared) == 0, "the upload of a living process was swept"
    finally:
        child.kill()
        await child.communicate()
    assert await listed(backend.store) == []
    assert await backend.store.sweep_partial(timedelta(hours=1)) == 0, "it is not that old"
    assert await backend.store.sweep_partial(NOW) == 1
    assert await backend.store.sweep_partial(NOW) == 0


async def test_a_body_over_the_limit_is_refused_while_it_streams(store: ArtifactStore) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 1000
            yield b"z" * 1000

    with pytest.raises(TooLarge, match="12000000 bytes") as caught:
        await store.put(endless(), max_bytes=12_000_000)
    assert caught.value.extensions["limit_bytes"] == 12_000_000
    assert taken == 12_001_000
    assert await listed(store) == []
    assert await store.sweep_partial(NOW) == 0


async def test_an_announced_length_over_the_limit_is_refused_before_a_byte_is_read(store: ArtifactStore) -> None:
    pieces = pieces_of(b"never read")
    with pytest.raises(TooLarge):
        await store.put(pieces, max_bytes=5, expected_bytes=10)
    assert await anext(pieces) == b"never read"


@pytest.mark.parametrize(("announced", "said"), [(9, "goes on after"), (11, "ended after 10 of 11"), (0, "goes on")])
async def test_another_length_than_announced_is_refused(store: ArtifactStore, announced: int, said: str) -> None:
    with pytest.raises(Incomplete, match=said):
        await store.put(pieces_of(b"ten bytes!"), expected_bytes=announced)
    assert await listed(store) == []
    assert await store.sweep_partial(NOW) == 0


@pytest.mark.parametrize(
    ("start", "stop"),
    [
        (0, 1),
        (0, None),
        (PART_BYTES - 100_000, PART_BYTES + 100_000),
        (len(SEVERAL_PARTS) - 1, None),
        (5, len(SEVERAL_PARTS) + 99),
    ],
)
async def test_a_range_gives_exactly_its_bytes(store: ArtifactStore, start: int, stop: int | None) -> None:
    stored = await store.put(pieces_of(SEVERAL_PARTS))
    assert await read(store, stored.digest, ByteRange(start, stop)) == SEVERAL_PARTS[start:stop]


async def test_a_range_behind_the_end_is_refused_with_the_size(store: ArtifactStore) -> None:
    stored = await store.put(pieces_of(b"12345"))
    with pytest.raises(RangeNotSatisfiable) as caught:
        await read(store, stored.digest, ByteRange(5))
    assert (caught.value.status, caught.value.extensions["size_bytes"]) == (416, 5)


async def test_an_empty_blob_has_no_bytes_from_its_start_and_no_range_behind_it(store: ArtifactStore) -> None:
    stored = await store.put(pieces_of(b""))
    assert await read(store, stored.digest, ByteRange(0, 5)) == b""
    with pytest.raises(RangeNotSatisfiable):
        await read(store, stored.digest, ByteRange(1))


async def test_a_reader_may_stop_early(store: ArtifactStore) -> None:
    stored = await store.put(pieces_of(SEVERAL_BATCHES))
    async with aclosing(store.open(stored.digest)) as pieces:
        assert SEVERAL_BATCHES.startswith(await anext(pieces))


async def test_a_missing_blob_is_named(store: ArtifactStore) -> None:
    with pytest.raises(BlobMissing, match=str(ABSENT)):
        await store.stat(ABSENT)
    with pytest.raises(BlobMissing, match=str(ABSENT)):
        await read(store, ABSENT)


async def test_a_blob_can_be_deleted_twice_and_put_again(store: ArtifactStore) -> None:
    stored = await store.put(pieces_of(b"comes and goes"))
    await store.delete(stored.digest)
    await store.delete(stored.digest)
    with pytest.raises(BlobMissing):
        await store.stat(stored.digest)
    assert await store.put(pieces_of(b"comes and goes")) == stored
    assert await read(store, stored.digest) == b"comes and goes"


async def test_a_new_store_is_empty(store: ArtifactStore) -> None:
    assert await listed(store) == []
    assert await store.sweep_partial(NOW) == 0
    await store.delete(ABSENT)


async def test_many_blobs_are_all_listed(store: ArtifactStore) -> None:
    stored = await asyncio.gather(*(store.put(pieces_of(b"%d" % number)) for number in range(40)))
    assert await listed(store) == sorted(one.digest for one in stored)


async def test_a_large_put_and_read_take_constant_memory(store: ArtifactStore) -> None:
    await store.put(repeated(b"w" * 65_536, 32))  # what the first put of a process imports is not its memory
    gc.collect()
    tracemalloc.start()
    try:
        stored = await store.put(repeated(b"m" * 65_536, 1024))
        async for _ in store.open(stored.digest):
            pass
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert stored.size_bytes == 64 * 1024 * 1024
    assert peak_bytes < stored.size_bytes / 3  # a few pieces in flight, whatever the size
