"""The store that is a directory: `sha256/<2 hex>/<64 hex>` for blobs, `partial/` for uploads under way.

An upload is renamed into place only after its bytes are on the disk; all blocking work runs in a few threads of ours.
"""

import asyncio
import errno
import fcntl
import os
import sys
import threading
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from core.errors import DiskFull, StoreUnavailable
from core.failpoints import failpoint
from storage.base import BlobMissing, ByteRange, Intake, RangeNotSatisfiable, Stored
from storage.digests import ALGORITHM, HEX, Digest, Hasher
from storage.threads import Threads

T = TypeVar("T")

READ_BYTES = 256 * 1024
# Else a fast upload leaves its bytes to the last fsync, which stalls every other sync of the disk: it took 320 ms after
# 512 MiB, but 10 to 30 ms when the write-out was started each 8 MiB. Waiting for each (fdatasync) is slower over all.
WRITEBACK_BYTES = 8 * 1024 * 1024
THREADS = 4
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class LocalStore:
    """An ArtifactStore in `root`, which is made when first written to; several processes may share it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._threads = Threads(THREADS, mapped_errors)

    def path(self, digest: Digest) -> Path:
        """Where the blob lies if it is there, a file of mode 0444."""
        return self._root / ALGORITHM / digest.hex[:2] / digest.hex

    async def put(
        self, chunks: AsyncIterator[bytes], *, max_bytes: int | None = None, expected_bytes: int | None = None
    ) -> Stored:
        """See ArtifactStore."""
        upload = _Upload(self._root / "partial" / uuid.uuid4().hex, self.path)
        return await self._threads.pour(chunks, Intake(max_bytes, expected_bytes), upload)

    async def open(self, digest: Digest, byte_range: ByteRange | None = None) -> AsyncGenerator[bytes, None]:
        """See ArtifactStore."""
        reading = _Reading(self.path(digest), digest, byte_range or ByteRange(0))
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
        return await self._threads.run(partial(_size_bytes, self.path(digest), digest))

    async def delete(self, digest: Digest) -> None:
        """See ArtifactStore; not synced: a blob that a power cut brings back is an orphan for the next sweep."""
        await self._threads.run(partial(self.path(digest).unlink, missing_ok=True))

    async def list(self) -> AsyncGenerator[Digest, None]:
        """See ArtifactStore; holds the names of one shard at a time."""
        for shard in await self._threads.run(partial(_entries, self._root / ALGORITHM)):
            for entry in await self._threads.run(partial(_entries, Path(shard.path))):
                if HEX.match(entry.name):
                    yield Digest(entry.name)

    async def sweep_partial(self, older_than: timedelta) -> int:
        """See ArtifactStore; what a living process writes to is locked and stays, so an age of zero is fine at start.

        An upload met in the instant between its making and its lock fails with StoreUnavailable.
        """
        return await self._threads.run(partial(_sweep, self._root / "partial", older_than))

    async def close(self) -> None:
        """See ArtifactStore."""
        await self._threads.close()


class _Upload:
    """One upload's file, used from worker threads; the lock orders a close behind a write that is still running."""

    def __init__(self, path: Path, path_of: Callable[[Digest], Path]) -> None:
        self._path, self._path_of = path, path_of
        self._lock = threading.Lock()
        self._fd: int | None = None
        self._closed = False
        self._hasher = Hasher()
        self._flushed_bytes = 0

    def begin(self) -> None:
        """Make the file and lock it, which tells a sweeper in any process that its writer lives."""
        with self._lock:
            if self._closed:
                return  # the caller went away before a thread was free
            _make_folder(self._path.parent)
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_EX)

    def append(self, data: bytearray) -> None:
        """Hash and write a batch."""
        with self._lock:
            if self._fd is None:
                return
            self._hasher.update(data)
            view = memoryview(data)
            while view:
                view = view[os.write(self._fd, view) :]
            self._start_writeback(self._fd)

    def commit(self) -> Stored:
        """Bring the bytes to the disk, then the name; an older copy of the same bytes is replaced, which mends it."""
        with self._lock:
            if self._fd is None:
                raise StoreUnavailable("The upload was closed before it was complete; send it again.")
            stored = Stored(self._hasher.digest(), self._hasher.size_bytes)
            path = self._path_of(stored.digest)
            os.fchmod(self._fd, 0o444)
            os.fsync(self._fd)
            _make_folder(path.parent)
            failpoint("put_before_rename")
            self._path.replace(path)
            _sync_folder(path.parent)
            return stored

    def _start_writeback(self, fd: int) -> None:
        """Have the kernel write out in the background: on Linux DONTNEED starts that and drops nothing dirty."""
        waiting_bytes = self._hasher.size_bytes - self._flushed_bytes
        if waiting_bytes >= WRITEBACK_BYTES and sys.platform == "linux":
            os.posix_fadvise(fd, self._flushed_bytes, waiting_bytes, os.POSIX_FADV_DONTNEED)
            self._flushed_bytes = self._hasher.size_bytes

    def close(self) -> None:
        """End the upload; one that was not committed disappears."""
        with self._lock:
            self._closed = True
            if self._fd is not None:
                # An unlink that fails leaves an unlocked file, which the sweeper removes; the first error matters more.
                with suppress(OSError):
                    self._path.unlink(missing_ok=True)
                os.close(self._fd)
                self._fd = None


class _Reading:
    """One reader's place in a blob; its steps run in worker threads, one at a time."""

    def __init__(self, path: Path, digest: Digest, byte_range: ByteRange) -> None:
        self._path = path
        self._digest = digest
        self._range = byte_range
        self._fd: int | None = None
        self._offset = byte_range.start
        self._stop = 0

    def next(self) -> bytes:
        """The next piece, empty at the end."""
        fd = self._open() if self._fd is None else self._fd
        piece = os.pread(fd, max(0, min(READ_BYTES, self._stop - self._offset)), self._offset)
        self._offset += len(piece)
        return piece

    def close(self) -> None:
        """Let the file go."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _open(self) -> int:
        try:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise BlobMissing(self._digest) from error
        size_bytes = os.fstat(self._fd).st_size
        if self._range.start >= max(size_bytes, 1):
            raise RangeNotSatisfiable(self._range, size_bytes)
        self._stop = size_bytes if self._range.stop is None else min(self._range.stop, size_bytes)
        return self._fd


def mapped_errors(work: Callable[[], T]) -> T:
    """The store's one door to the file system: its errors become ours; paths stay in the cause, for the log."""
    try:
        return work()
    except OSError as error:
        if error.errno in NO_ROOM:
            raise DiskFull("The disk of the artifact store is full; free some space, then send it again.") from error
        reason = error.strerror or str(error)
        raise StoreUnavailable(
            f"The folder of the artifact store cannot be used: {reason}. Check that it exists and is writable."
        ) from error


def _size_bytes(path: Path, digest: Digest) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError as error:
        raise BlobMissing(digest) from error


def _entries(folder: Path) -> tuple[os.DirEntry[str], ...]:
    """What lies in the folder; nothing where nothing was ever stored."""
    try:
        with os.scandir(folder) as entries:
            return tuple(entries)
    except FileNotFoundError:
        return ()


def blob_files(root: Path) -> Iterator[os.DirEntry[str]]:
    """The files of all blobs under a store's root; blocks."""
    for shard in _entries(root / ALGORITHM):
        yield from (entry for entry in _entries(Path(shard.path)) if HEX.match(entry.name))


def _sweep(folder: Path, older_than: timedelta) -> int:
    newest = time.time() - older_than.total_seconds()
    return sum(_remove_if_abandoned(Path(entry.path), newest) for entry in _entries(folder))


def _remove_if_abandoned(path: Path, newest: float) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_mtime > newest:
            return False
        path.unlink(missing_ok=True)
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(fd)


def _make_folder(path: Path) -> None:
    """`mkdir -p`, private to us, whose new names survive a power cut."""
    if not path.is_dir():
        _make_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
        _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
