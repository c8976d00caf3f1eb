"""A metered store does what the one inside does, and counts it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from core.errors import StoreUnavailable, TooLarge
from storage.base import ArtifactStore, BlobMissing, Stored
from storage.digests import Digest
from storage.local import LocalStore
from storage.metered import MeteredStore, StoreMetrics

NOWHERE = Digest.parse("sha256:" + "0" * 64)


class BrokenStore(LocalStore):
    """A store whose server is away."""

    async def stat(self, digest: Digest) -> int:
        raise StoreUnavailable("the store is away")


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def store(tmp_path: Path, registry: CollectorRegistry) -> AsyncIterator[ArtifactStore]:
    store = MeteredStore(LocalStore(tmp_path), "file", StoreMetrics(registry))
    yield store
    await store.close()


async def put(store: ArtifactStore, data: bytes, **limits: int) -> Stored:
    async def pieces() -> AsyncIterator[bytes]:
        yield data

    return await store.put(pieces(), **limits)


def counted(registry: CollectorRegistry, operation: str, result: str) -> float | None:
    labels = {"backend": "file", "operation": operation, "result": result}
    return registry.get_sample_value("portside_store_operations_total", labels)


async def test_what_it_does_is_what_the_store_inside_does(store: ArtifactStore) -> None:
    stored = await put(store, b"bytes")
    assert await store.stat(stored.digest) == 5
    assert b"".join([piece async for piece in store.open(stored.digest)]) == b"bytes"
    assert [digest async for digest in store.list()] == [stored.digest]
    await store.delete(stored.digest)
    with pytest.raises(BlobMissing):
        await store.stat(stored.digest)


async def test_operations_are_counted_by_how_they_ended(store: ArtifactStore, registry: CollectorRegistry) -> None:
    stored = await put(store, b"bytes")
    with pytest.raises(TooLarge):
        await put(store, b"bytes", max_bytes=1)
    with pytest.raises(BlobMissing):
        await store.stat(NOWHERE)
    reading = store.open(stored.digest)
    await anext(reading)
    await reading.aclose()
    assert counted(registry, "put", "ok") == 1
    assert counted(registry, "put", "refused") == 1
    assert counted(registry, "stat", "missing") == 1
    assert counted(registry, "open", "abandoned") == 1


async def test_bytes_are_counted_both_ways(store: ArtifactStore, registry: CollectorRegistry) -> None:
    stored = await put(store, b"x" * 1000)
    _ = [piece async for piece in store.open(stored.digest)]
    for operation in ("put", "open"):
        labels = {"backend": "file", "operation": operation}
        assert registry.get_sample_value("portside_store_bytes_total", labels) == 1000


async def test_a_store_that_is_away_is_counted_by_its_code(tmp_path: Path, registry: CollectorRegistry) -> None:
    store = MeteredStore(BrokenStore(tmp_path), "file", StoreMetrics(registry))
    with pytest.raises(StoreUnavailable):
        await store.stat(NOWHERE)
    await store.close()
    assert counted(registry, "stat", "store_unavailable") == 1
