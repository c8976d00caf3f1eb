"""The port of the artifact store, its values and errors, and the length rules that every backend's `put` obeys.

A blob is either there whole, durable and under its digest, or not there at all.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from core.errors import Incomplete, NotFound, Rejected, TooLarge
from storage.digests import Digest

# One batch is one thread hop: at 1 MiB the hop (0.1 ms) vanishes beside hashing (3 ms), and a put holds two of them.
BATCH_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Stored:
    """What a put leaves behind."""

    digest: Digest
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes from `start` up to, not including, `stop`; a `stop` of None or behind the end means the end."""

    start: int
    stop: int | None = None

    def __post_init__(self) -> None:
        if self.start < 0 or (self.stop is not None and self.stop <= self.start):
            raise ValueError(f"A byte range needs 0 <= start < stop, not {self.start}..{self.stop}.")


class BlobMissing(NotFound):
    """No blob of this digest is in the store."""

    code, title = "blob_missing", "The stored bytes are missing"

    def __init__(self, digest: Digest) -> None:
        super().__init__(f"The store holds no blob {digest}; upload the file again.", digest=str(digest))


class RangeNotSatisfiable(Rejected):
    """The range starts behind the last byte (RFC 9110, 15.5.17)."""

    status, code, title = 416, "range_not_satisfiable", "The range lies behind the end"

    def __init__(self, byte_range: ByteRange, size_bytes: int) -> None:
        super().__init__(
            f"The range starts at byte {byte_range.start} of {size_bytes}; ask for an earlier one.",
            size_bytes=size_bytes,
        )


class ArtifactStore(Protocol):
    """Content-addressed blobs; every method may raise StoreUnavailable, and none blocks the event loop."""

    async def put(
        self, chunks: AsyncIterator[bytes], *, max_bytes: int | None = None, expected_bytes: int | None = None
    ) -> Stored:
        """Store the stream under its digest, atomically, durably and in constant memory; the same bytes again are fine.

        Raises TooLarge as soon as `max_bytes` is passed, Incomplete when the length is not `expected_bytes`, DiskFull,
        and whatever `chunks` raises; then nothing is stored.
        """
        ...

    def open(self, digest: Digest, byte_range: ByteRange | None = None) -> AsyncGenerator[bytes, None]:
        """The blob, or a range of it, in pieces; the first step raises BlobMissing or RangeNotSatisfiable."""
        ...

    async def stat(self, digest: Digest) -> int:
        """The blob's size in bytes; raises BlobMissing."""
        ...

    async def delete(self, digest: Digest) -> None:
        """Remove the blob; one that is not there is no error."""
        ...

    def list(self) -> AsyncGenerator[Digest, None]:
        """Every blob that is there from start to end of the walk, in no promised order."""
        ...

    async def sweep_partial(self, older_than: timedelta) -> int:
        """Remove uploads that nobody writes to any more and that are older; returns how many."""
        ...

    async def close(self) -> None:
        """Give back threads and connections; the store is not used afterwards."""
        ...


class Intake:
    """Gathers the pieces of one upload into batches, and refuses a wrong length as soon as it is certain."""

    def __init__(self, max_bytes: int | None, expected_bytes: int | None) -> None:
        self._max_bytes = max_bytes
        self._expected_bytes = expected_bytes
        self._received_bytes = 0
        self._batch = bytearray()
        self._refuse_if_beyond_limit(expected_bytes or 0)

    def take(self, chunk: bytes) -> bytearray | None:
        """Add a piece; returns a batch once one is full. Raises TooLarge or Incomplete."""
        self._received_bytes += len(chunk)
        self._refuse_if_beyond_limit(self._received_bytes)
        if self._expected_bytes is not None and self._received_bytes > self._expected_bytes:
            raise Incomplete(f"The body goes on after the announced {self._expected_bytes} bytes; send it again.")
        self._batch += chunk
        return self._cut() if len(self._batch) >= BATCH_BYTES else None

    def rest(self) -> bytearray:
        """What is left when the stream has ended, perhaps nothing. Raises Incomplete."""
        if self._expected_bytes is not None and self._received_bytes < self._expected_bytes:
            raise Incomplete(
                f"The body ended after {self._received_bytes} of {self._expected_bytes} announced bytes; send it again."
            )
        return self._cut()

    def _cut(self) -> bytearray:
        batch, self._batch = self._batch, bytearray()
        return batch

    def _refuse_if_beyond_limit(self, size_bytes: int) -> None:
        if self._max_bytes is not None and size_bytes > self._max_bytes:
            raise TooLarge(
                f"The body is larger than the limit of {self._max_bytes} bytes; send less, or have the limit raised.",
                limit_bytes=self._max_bytes,
            )
