"""The store that is a bucket: `<prefix>sha256/<2 hex>/<64 hex>`, and `<prefix>partial/` while an upload lasts.

S3 wants a key before the bytes, and ours is their hash: a large body goes to a partial key first and is then copied
within the server (docs/decisions/0014).
"""

import asyncio
import threading
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from math import ceil
from typing import Final, TypeVar

from core.errors import StoreUnavailable, TooLarge
from core.failpoints import failpoint
from storage.base import BlobMissing, ByteRange, Intake, RangeNotSatisfiable, Stored
from storage.digests import ALGORITHM, HEX, Digest, Hasher
from storage.s3 import Answer, BehindEnd, KeyMissing, S3Bucket
from storage.threads import Threads

T = TypeVar("T")

PART_BYTES: Final = 5 * 1024 * 1024  # the least that S3 takes; an upload holds two of them
MOST_PARTS: Final = 10_000
READ_BYTES: Final = 256 * 1024
RESUMES: Final = 3  # of one reading, without a byte in between
THREADS: Final = 16
DAY: Final = timedelta(days=1)


class S3Store:
    """An ArtifactStore in a bucket; any number of processes on any machines may share it.

    S3 has no locks that tell whether a writer lives, only ages: an upload of another process counts as abandoned after
    `abandoned_after`, whatever the sweeper says.
    """

    def __init__(self, bucket: S3Bucket, prefix: str = "", *, abandoned_after: timedelta = DAY) -> None:
        self._bucket, self._prefix, self._abandoned_after = bucket, prefix, abandoned_after
        self._under_way: set[str] = set()
        self._threads = Threads(THREADS, _as_it_is)

    def key(self, digest: Digest) -> str:
        """Where the blob lies if it is there."""
        return f"{self._prefix}{ALGORITHM}/{digest.hex[:2]}/{digest.hex}"

    async def put(
        self, chunks: AsyncIterator[bytes], *, max_bytes: int | None = None, expected_bytes: int | None = None
    ) -> Stored:
        """See ArtifactStore; bytes that are there already are written again, which mends them."""
        intake = Intake(max_bytes, expected_bytes)
        # Parts of one size, which some servers demand, and few enough for the largest body.
        part_bytes = max(PART_BYTES, ceil((max_bytes or 0) / MOST_PARTS))
        key = f"{self._prefix}partial/{uuid.uuid4().hex}"
        self._under_way.add(key)
        try:
            return await self._threads.pour(chunks, intake, _Upload(self._bucket, key, self.key, part_bytes))
        finally:
            self._under_way.discard(key)

    async def open(self, digest: Digest, byte_range: ByteRange | None = None) -> AsyncGenerator[bytes, None]:
        """See ArtifactStore; a connection that breaks is taken up again where it broke."""
        reading = _Reading(self._bucket, self.key(digest), digest, byte_range or ByteRange(0))
        step = self._threads.submit(reading.next)
        try:
            while piece := await asyncio.wrap_future(step):
                yield piece
                step = self._threads.submit(reading.next)
        finally:
            # After the step, not now: a cancelled reader may still have a read under way in a thread.
            step.add_done_callback(lambda _: reading.close())

    async def stat(self, digest: Digest) -> int:
        """See ArtifactStore."""
        try:
            return await self._threads.run(partial(self._bucket.size_bytes, self.key(digest)))
        except KeyMissing as error:
            raise BlobMissing(digest) from error

    async def delete(self, digest: Digest) -> None:
        """See ArtifactStore."""
        await self._threads.run(partial(self._bucket.remove, self.key(digest)))

    async def list(self) -> AsyncGenerator[Digest, None]:
        """See ArtifactStore; holds one page of names at a time."""
        after = ""
        while page := await self._threads.run(partial(self._bucket.page, f"{self._prefix}{ALGORITHM}/", after)):
            for listed in page:
                name = listed.key.rpartition("/")[2]
                if HEX.match(name):
                    yield Digest(name)
            after = page[-1].key

    async def sweep_partial(self, older_than: timedelta) -> int:
        """See ArtifactStore; the age is that of an upload's beginning, and never less than `abandoned_after`."""
        before = datetime.now(UTC) - max(older_than, self._abandoned_after)
        return await self._threads.run(partial(self._sweep, before))

    def _sweep(self, before: datetime) -> int:
        count, after = 0, ""
        while page := self._bucket.page(f"{self._prefix}partial/", after):
            for listed in page:
                if listed.changed_at <= before and listed.key not in self._under_way:
                    self._bucket.abort(listed.key)
                    self._bucket.remove(listed.key)
                    count += 1
            after = page[-1].key
        # A copy beyond 5 GiB is a multipart upload under the blob's own key, and may have been cut off, too.
        return count + self._bucket.abort(f"{self._prefix}{ALGORITHM}/", before)

    async def close(self) -> None:
        """See ArtifactStore."""
        await self._threads.close()


class _Upload:
    """One upload, used from worker threads; the lock orders a close behind a step that is still running.

    What fits into one part is one PUT under the blob's own key. More is begun by an empty object under a partial key:
    its age tells the sweeper when the upload began, and its key under which the parts lie, on every S3 server.
    """

    def __init__(self, bucket: S3Bucket, key: str, key_of: Callable[[Digest], str], part_bytes: int) -> None:
        self._bucket, self._key, self._key_of, self._part_bytes = bucket, key, key_of, part_bytes
        self._lock = threading.Lock()
        self._closed = False
        self._hasher = Hasher()
        self._pending = bytearray()
        self._is_marked = False
        self._id = ""
        self._tags: list[str] = []

    def begin(self) -> None:
        """Nothing yet: most bodies are one PUT."""

    def append(self, data: bytearray) -> None:
        """Hash a batch, and send a part once one is full and more has come."""
        with self._lock:
            if self._closed:
                return
            self._hasher.update(data)
            self._pending += data
            while len(self._pending) > self._part_bytes:
                self._send_part(bytes(memoryview(self._pending)[: self._part_bytes]))
                del self._pending[: self._part_bytes]

    def commit(self) -> Stored:
        """Make the blob, in one step that a reader sees whole or not at all."""
        with self._lock:
            if self._closed:
                raise StoreUnavailable("The upload was closed before it was complete; send it again.")
            stored = Stored(self._hasher.digest(), self._hasher.size_bytes)
            target = self._key_of(stored.digest)
            if not self._id:
                failpoint("put_before_rename")
                self._bucket.put(target, bytes(self._pending))
                return stored
            self._send_part(bytes(self._pending))
            self._bucket.complete(self._key, self._id, self._tags, stored.size_bytes)
            failpoint("put_before_rename")
            self._bucket.copy(self._key, target, stored.size_bytes)
            return stored

    def close(self) -> None:
        """Remove what lies under the partial key; what cannot be removed now is left to the sweeper."""
        with self._lock:
            self._closed = True
            if self._is_marked:
                with suppress(StoreUnavailable):
                    self._bucket.abort(self._key)
                    self._bucket.remove(self._key)

    def _send_part(self, data: bytes) -> None:
        if not self._id:
            self._is_marked = True
            self._bucket.put(self._key, b"")
            self._id = self._bucket.begin(self._key)
        if len(self._tags) == MOST_PARTS:
            raise TooLarge(f"The body is larger than {MOST_PARTS} parts of {self._part_bytes} bytes; send less.")
        self._tags.append(self._bucket.send_part(self._key, self._id, len(self._tags) + 1, data))


class _Reading:
    """One reader's place in a blob; its steps run in worker threads, one at a time."""

    def __init__(self, bucket: S3Bucket, key: str, digest: Digest, byte_range: ByteRange) -> None:
        self._bucket, self._key, self._digest, self._range = bucket, key, digest, byte_range
        self._answer: Answer | None = None
        self._offset = byte_range.start

    def next(self) -> bytes:
        """The next piece, empty at the end."""
        for _ in range(RESUMES):
            try:
                return self._read()
            except StoreUnavailable:
                if self._answer is None:
                    raise  # asking failed, which the client has repeated already
                self.close()
        return self._read()

    def close(self) -> None:
        """Let the connection go."""
        if self._answer is not None:
            self._answer.close()
            self._answer = None

    def _read(self) -> bytes:
        if self._answer is None:
            try:
                self._answer = self._bucket.get(self._key, self._offset, self._range.stop)
            except KeyMissing as error:
                raise BlobMissing(self._digest) from error
            except BehindEnd as error:
                size_bytes = self._size_bytes()
                if self._offset < max(size_bytes, 1):
                    return b""  # an empty blob has no range at all
                raise RangeNotSatisfiable(self._range, size_bytes) from error
        piece = self._answer.read(READ_BYTES)
        self._offset += len(piece)
        return piece

    def _size_bytes(self) -> int:
        try:
            return self._bucket.size_bytes(self._key)
        except KeyMissing as error:
            raise BlobMissing(self._digest) from error


def _as_it_is(work: Callable[[], T]) -> T:
    """The bucket has mapped its errors already."""
    return work()
