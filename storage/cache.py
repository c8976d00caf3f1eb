"""Gives engines a file for a digest: the blob itself when the store is a directory, else a downloaded copy.

Copies lie in a folder bounded by size, least recently asked for first to go; several processes may share it.
"""

import asyncio
import os
import time
from contextlib import aclosing, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path

from core.errors import Incomplete, StoreUnavailable
from storage.base import ArtifactStore
from storage.digests import Digest
from storage.local import LocalStore, blob_files, mapped_errors

# Longer than any start of a model server: a path that was just handed out must still be there when it is opened.
KEEP_RECENT = timedelta(minutes=10)


class ArtifactCache:
    """Files of blobs. `max_bytes` bounds the copies, except for those asked for within `keep_recent`."""

    def __init__(
        self, store: ArtifactStore, folder: Path, *, max_bytes: int, keep_recent: timedelta = KEEP_RECENT
    ) -> None:
        self._store = store
        self._folder = folder
        self._copies = LocalStore(folder)
        self._max_bytes = max_bytes
        self._keep_recent = keep_recent
        self._downloads: dict[Digest, asyncio.Task[None]] = {}

    async def path(self, digest: Digest) -> Path:
        """A read-only file with the blob's bytes; raises BlobMissing and StoreUnavailable."""
        if isinstance(self._store, LocalStore):
            await self._store.stat(digest)
            return self._store.path(digest)
        path = self._copies.path(digest)
        if not await asyncio.to_thread(mapped_errors, partial(_touch, path)):
            await self._join_download(digest)
        return path

    async def close(self) -> None:
        """Ends downloads under way; the store itself is its opener's to close."""
        for download in self._downloads.values():
            download.cancel()
        await asyncio.gather(*self._downloads.values(), return_exceptions=True)
        await self._copies.close()

    async def _join_download(self, digest: Digest) -> None:
        """One download per digest however many ask; a caller that gives up does not end it for the others."""
        download = self._downloads.get(digest)
        if download is None:
            download = asyncio.create_task(self._download(digest), name=f"download {digest}")
            self._downloads[digest] = download
            download.add_done_callback(lambda _: self._downloads.pop(digest))
        await asyncio.shield(download)

    async def _download(self, digest: Digest) -> None:
        size_bytes = await self._store.stat(digest)
        await self._copies.sweep_partial(self._keep_recent)
        await asyncio.to_thread(mapped_errors, partial(self._make_room, size_bytes))
        try:
            async with aclosing(self._store.open(digest)) as chunks:
                stored = await self._copies.put(chunks, expected_bytes=size_bytes)
        except Incomplete as error:
            raise StoreUnavailable(f"The download of {digest} has another length than the store said.") from error
        if stored.digest != digest:
            await self._copies.delete(stored.digest)
            raise StoreUnavailable(
                f"The store returned other bytes for {digest}; restore that blob or upload it again."
            )

    def _make_room(self, wanted_bytes: int) -> None:
        """Remove the copies asked for longest ago until the next one fits; an open file outlives its name."""
        files: list[tuple[os.stat_result, Path]] = []
        for entry in blob_files(self._folder):
            with suppress(FileNotFoundError):  # another process made room at the same time
                files.append((entry.stat(), Path(entry.path)))
        total_bytes = sum(stat.st_size for stat, _ in files) + wanted_bytes
        newest = time.time() - self._keep_recent.total_seconds()
        for stat, path in sorted(files, key=lambda file: file[0].st_mtime):
            if total_bytes <= self._max_bytes or stat.st_mtime > newest:
                return
            path.unlink(missing_ok=True)
            total_bytes -= stat.st_size


def _touch(path: Path) -> bool:
    """Mark the copy as just used; False when there is none."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True
