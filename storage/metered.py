"""A store that counts and times what another one does; everything else about it is the other one's."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from datetime import timedelta
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from core.errors import PlatformError, Unavailable
from storage.base import ArtifactStore, BlobMissing, ByteRange, Stored
from storage.digests import Digest

# From a stat in a folder to two gigabytes over a slow line.
BUCKETS: Final = (0.001, 0.005, 0.025, 0.1, 0.5, 2.0, 10.0, 60.0, 300.0)


class StoreMetrics:
    """Figures about a store, by the kind of its backend."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("backend", "operation")
        self._count = Counter(
            "portside_store_operations", "Operations on the artifact store.", (*labels, "result"), registry=registry
        )
        self._seconds = Histogram(
            "portside_store_operation_seconds", "How long they took.", labels, registry=registry, buckets=BUCKETS
        )
        self._bytes = Counter(
            "portside_store_bytes", "Bytes that were put, and that were read.", labels, registry=registry
        )

    @contextmanager
    def operation(self, backend: str, name: str) -> Iterator[None]:
        """Count and time what happens inside."""
        began, result = time.perf_counter(), "error"
        try:
            yield
            result = "ok"
        except BlobMissing:
            result = "missing"
            raise
        except Unavailable as error:
            result = error.code  # store_unavailable, disk_full
            raise
        except PlatformError:
            result = "refused"
            raise
        except GeneratorExit:
            result = "abandoned"
            raise
        finally:
            self._count.labels(backend, name, result).inc()
            self._seconds.labels(backend, name).observe(time.perf_counter() - began)

    def moved(self, backend: str, name: str, size_bytes: int) -> None:
        """Count bytes."""
        self._bytes.labels(backend, name).inc(size_bytes)


class MeteredStore:
    """An `ArtifactStore` around another one."""

    def __init__(self, store: ArtifactStore, backend: str, metrics: StoreMetrics) -> None:
        """`backend` names the kind of store, as `file` or `s3`."""
        self._store, self._backend, self._metrics = store, backend, metrics

    async def put(
        self, chunks: AsyncIterator[bytes], *, max_bytes: int | None = None, expected_bytes: int | None = None
    ) -> Stored:
        """See `ArtifactStore.put`."""
        with self._metrics.operation(self._backend, "put"):
            stored = await self._store.put(chunks, max_bytes=max_bytes, expected_bytes=expected_bytes)
        self._metrics.moved(self._backend, "put", stored.size_bytes)
        return stored

    async def open(self, digest: Digest, byte_range: ByteRange | None = None) -> AsyncGenerator[bytes, None]:
        """See `ArtifactStore.open`; the time is the reader's too, who may take long."""
        with self._metrics.operation(self._backend, "open"):
            async with aclosing(self._store.open(digest, byte_range)) as pieces:
                async for piece in pieces:
                    self._metrics.moved(self._backend, "open", len(piece))
                    yield piece

    async def stat(self, digest: Digest) -> int:
        """See `ArtifactStore.stat`."""
        with self._metrics.operation(self._backend, "stat"):
            return await self._store.stat(digest)

    async def delete(self, digest: Digest) -> None:
        """See `ArtifactStore.delete`."""
        with self._metrics.operation(self._backend, "delete"):
            await self._store.delete(digest)

    async def list(self) -> AsyncGenerator[Digest, None]:
        """See `ArtifactStore.list`."""
        with self._metrics.operation(self._backend, "list"):
            async with aclosing(self._store.list()) as digests:
                async for digest in digests:
                    yield digest

    async def sweep_partial(self, older_than: timedelta) -> int:
        """See `ArtifactStore.sweep_partial`."""
        with self._metrics.operation(self._backend, "sweep"):
            return await self._store.sweep_partial(older_than)

    async def close(self) -> None:
        """See `ArtifactStore.close`."""
        await self._store.close()
