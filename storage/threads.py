"""The threads in which a store's blocking work runs, and the one way in which a stream becomes an upload.

Every call goes through the store's door, which turns foreign errors into ours.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Protocol, TypeVar

from storage.base import Intake, Stored

T = TypeVar("T")

# Hashing keeps a core busy for as long as an upload lasts; predictions that share the process go first. On two cores
# it halved what nine of ten predictions waited during an upload (2.4 ms, then 1.4), which took a sixth longer.
THREAD_NICENESS = 10


class Door(Protocol):
    """Does the work and maps its errors."""

    def __call__(self, work: Callable[[], T], /) -> T: ...


class Upload(Protocol):
    """One upload's blocking steps; a close may come while another step still runs, and must wait for it."""

    def begin(self) -> None: ...
    def append(self, data: bytearray) -> None: ...
    def commit(self) -> Stored: ...
    def close(self) -> None:
        """End it; what was not committed disappears."""


class Threads:
    """A few worker threads of one store."""

    def __init__(self, count: int, door: Door) -> None:
        self._door = door
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="storage", initializer=step_back)

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Have it done."""
        return self._pool.submit(self._door, work)

    async def run(self, work: Callable[[], T]) -> T:
        """Have it done and wait."""
        return await asyncio.wrap_future(self.submit(work))

    async def pour(self, chunks: AsyncIterator[bytes], intake: Intake, upload: Upload) -> Stored:
        """Fill and commit the upload; one batch is worked on while the next is gathered, so two are held at most.

        What fits into one batch is done in one go: of many small files the threads, not their changes, take the time.
        """
        working: Future[None] | None = None
        try:
            async for chunk in chunks:
                if batch := intake.take(chunk):
                    working = working or self.submit(upload.begin)
                    await asyncio.wrap_future(working)
                    working = self.submit(partial(upload.append, batch))
            rest = intake.rest()
            if working is None:
                return await self.run(partial(_in_one_go, upload, rest))
            await asyncio.wrap_future(working)
            await self.run(partial(upload.append, rest))
            return await self.run(upload.commit)
        finally:
            if working is not None:
                # Shielded: a caller that goes away must not keep us from removing what it left.
                await asyncio.shield(self.run(upload.close))

    async def close(self) -> None:
        """Wait for what runs and end them."""
        await asyncio.to_thread(self._pool.shutdown)


def _in_one_go(upload: Upload, data: bytearray) -> Stored:
    """Where the caller goes away meanwhile it is done to its end."""
    try:
        upload.begin()
        upload.append(data)
        return upload.commit()
    finally:
        upload.close()


def step_back() -> None:
    """Lower this thread's priority; elsewhere than on Linux that would be the whole process'."""
    if sys.platform == "linux":
        os.nice(THREAD_NICENESS)
