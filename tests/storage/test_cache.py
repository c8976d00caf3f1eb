"""Files for the engines, from a store that is here and from one that is far away."""

import asyncio
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from core.errors import StoreUnavailable
from storage.base import ArtifactStore, BlobMissing, ByteRange, Stored
from storage.cache import ArtifactCache
from storage.digests import Digest
from storage.local import LocalStore
from tests.storage.streams import pieces_of

DAY_S = 86_400


class FarStore:
    """A store with no files to give, as one over the network: a directory behind the protocol, counting downloads."""

    def __init__(self, root: Path) -> None:
        self.near = LocalStore(root)
        self.downloads = 0
        self.asked = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def put(
        self, chunks: AsyncIterator[bytes], *, max_bytes: int | None = None, expected_bytes: int | None = None
    ) -> Stored:
        return await self.near.put(chunks, max_bytes=max_bytes, expected_bytes=expected_bytes)

    async def open(self, digest: Digest, byte_range: ByteRange | None = None) -> AsyncGenerator[bytes, None]:
        self.downloads += 1
        self.asked.set()
        async for piece in self.near.open(digest, byte_range):
            await self.gate.wait()
            yield piece

    async def stat(self, digest: Digest) -> int:
        return await self.near.stat(digest)

    async def delete(self, digest: Digest) -> None:
        await self.near.delete(digest)

    def list(self) -> AsyncGenerator[Digest, None]:
        return self.near.list()

    async def sweep_partial(self, older_than: timedelta) -> int:
        return await self.near.sweep_partial(older_than)

    async def close(self) -> None:
        await self.near.close()


@pytest.fixture
async def far(tmp_path: Path) -> AsyncIterator[FarStore]:
    store = FarStore(tmp_path / "far")
    yield store
    await store.close()


@pytest.fixture
async def cache(far: FarStore, tmp_path: Path) -> AsyncIterator[ArtifactCache]:
    cache = ArtifactCache(far, tmp_path / "cache", max_bytes=2_500)
    yield cache
    await cache.close()


def age(path: Path, days: int) -> None:
    then = path.stat().st_mtime - days * DAY_S
    os.utime(path, (then, then))


async def put_kilobyte(store: ArtifactStore, letter: str) -> Digest:
    return (await store.put(pieces_of(letter.encode() * 1_000))).digest


async def test_a_local_blob_is_its_own_file(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    cache = ArtifactCache(store, tmp_path / "cache", max_bytes=1)
    digest = await put_kilobyte(store, "a")
    assert await cache.path(digest) == store.path(digest)
    assert not (tmp_path / "cache").exists()
    with pytest.raises(BlobMissing):
        await cache.path(Digest("0" * 64))
    await cache.close()
    await store.close()


async def test_a_far_blob_is_downloaded_once_into_a_read_only_file(far: FarStore, cache: ArtifactCache) -> None:
    digest = await put_kilobyte(far, "a")
    path = await cache.path(digest)
    assert path.read_bytes() == b"a" * 1_000
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert await cache.path(digest) == path
    assert far.downloads == 1


async def test_many_who_ask_at_once_share_one_download_and_one_may_give_up(far: FarStore, cache: ArtifactCache) -> None:
    digest = await put_kilobyte(far, "a")
    far.gate.clear()
    asking = [asyncio.create_task(cache.path(digest)) for _ in range(10)]
    await asyncio.wait_for(far.asked.wait(), 60)
    asking[0].cancel()
    far.gate.set()
    paths = await asyncio.gather(*asking[1:])
    assert far.downloads == 1
    assert {path.read_bytes() for path in paths} == {b"a" * 1_000}
    with pytest.raises(asyncio.CancelledError):
        await asking[0]


async def test_the_copy_asked_for_longest_ago_makes_room(far: FarStore, cache: ArtifactCache) -> None:
    first, second, third = [await put_kilobyte(far, letter) for letter in "abc"]
    paths = {digest: await cache.path(digest) for digest in (first, second)}
    for path in paths.values():
        age(path, days=2)
    await cache.path(first)
    age(paths[first], days=1)
    await cache.path(third)
    assert paths[first].exists()
    assert not paths[second].exists()
    assert await cache.path(second) == paths[second]
    assert far.downloads == 4


async def test_a_path_just_handed_out_stays_even_over_the_bound(far: FarStore, cache: ArtifactCache) -> None:
    paths = [await cache.path(await put_kilobyte(far, letter)) for letter in "abcd"]
    assert all(path.exists() for path in paths)


async def test_a_missing_far_blob_is_missing_every_time_and_can_come_later(far: FarStore, cache: ArtifactCache) -> None:
    digest = await put_kilobyte(far, "a")
    await far.delete(digest)
    for _ in range(2):
        with pytest.raises(BlobMissing):
            await cache.path(digest)
    await put_kilobyte(far, "a")
    assert (await cache.path(digest)).exists()


async def test_other_bytes_than_the_digest_says_never_become_a_file(far: FarStore, cache: ArtifactCache) -> None:
    digest = await put_kilobyte(far, "a")
    damaged = far.near.path(digest)
    damaged.unlink()
    damaged.write_bytes(b"b" * 1_000)
    with pytest.raises(StoreUnavailable, match=str(digest)):
        await cache.path(digest)
    await far.delete(digest)
    with pytest.raises(BlobMissing):
        await cache.path(digest)


async def test_what_a_killed_download_left_goes_with_the_next_one(
    far: FarStore, cache: ArtifactCache, tmp_path: Path
) -> None:
    abandoned = tmp_path / "cache" / "partial" / "abandoned"
    abandoned.parent.mkdir(parents=True)
    abandoned.write_bytes(b"half")
    age(abandoned, days=1)
    await cache.path(await put_kilobyte(far, "a"))
    assert not abandoned.exists()
