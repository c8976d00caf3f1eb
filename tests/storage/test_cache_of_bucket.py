"""Files for the engines from a real bucket: downloaded once, whole, checked, also over a bad line."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from core.errors import StoreUnavailable
from deploy.stack.minio import BUCKET, MinioServer
from storage.base import BlobMissing
from storage.cache import ArtifactCache
from storage.digests import Digest
from storage.remote import PART_BYTES, S3Store
from storage.s3 import S3Bucket
from tests.storage.proxy import Proxy, Trouble, proxy_before
from tests.storage.servers import STEADY, access_of, running_minio
from tests.storage.streams import pieces_of

LARGE = os.urandom(PART_BYTES + 1_234_567)


@pytest.fixture(scope="module")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    with running_minio(tmp_path_factory.mktemp("minio")) as server:
        yield server


@pytest.fixture
async def proxy(minio: MinioServer) -> AsyncIterator[Proxy]:
    async with proxy_before(minio.port) as proxy:
        yield proxy


@pytest.fixture
def bucket(minio: MinioServer, proxy: Proxy) -> S3Bucket:
    return S3Bucket(BUCKET, access_of(minio, proxy.port), STEADY)


@pytest.fixture
async def store(bucket: S3Bucket) -> AsyncIterator[S3Store]:
    store = S3Store(bucket)
    yield store
    await store.close()


@pytest.fixture
async def cache(store: S3Store, tmp_path: Path) -> AsyncIterator[ArtifactCache]:
    cache = ArtifactCache(store, tmp_path / "cache", max_bytes=100_000_000)
    yield cache
    await cache.close()


async def test_many_who_ask_at_once_share_one_download_of_the_very_bytes(
    proxy: Proxy, store: S3Store, cache: ArtifactCache
) -> None:
    stored = await store.put(pieces_of(LARGE))
    before = proxy.received
    paths = await asyncio.gather(*(cache.path(stored.digest) for _ in range(10)))
    assert len(set(paths)) == 1
    assert paths[0].read_bytes() == LARGE
    assert len(LARGE) <= proxy.received - before < 2 * len(LARGE)


async def test_a_download_that_is_cut_goes_on_and_one_that_breaks_for_good_leaves_no_file(
    proxy: Proxy, store: S3Store, cache: ArtifactCache, tmp_path: Path
) -> None:
    stored = await store.put(pieces_of(LARGE))
    proxy.trouble = Trouble(cut_after_received=2_000_000, refuses_then=True)
    with pytest.raises(StoreUnavailable):
        await cache.path(stored.digest)
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []
    proxy.trouble = Trouble(cut_after_received=2_000_000, times=proxy.cuts + 2)
    assert (await cache.path(stored.digest)).read_bytes() == LARGE


async def test_other_bytes_under_a_blobs_key_never_become_a_file(
    bucket: S3Bucket, store: S3Store, cache: ArtifactCache
) -> None:
    stored = await store.put(pieces_of(b"the true bytes"))
    await asyncio.to_thread(bucket.put, store.key(stored.digest), b"the evil bytes")
    with pytest.raises(StoreUnavailable, match="other bytes"):
        await cache.path(stored.digest)
    await store.put(pieces_of(b"the true bytes"))
    assert (await cache.path(stored.digest)).read_bytes() == b"the true bytes"


async def test_a_blob_that_is_not_in_the_bucket_is_missing_and_not_unavailable(cache: ArtifactCache) -> None:
    with pytest.raises(BlobMissing):
        await cache.path(Digest("0" * 64))
