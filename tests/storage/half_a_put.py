"""A program that puts 8 MiB into the store at a URL, prints `half`, and never sends the rest: made to be killed."""

import asyncio
import sys
from collections.abc import AsyncIterator

from core.settings import Settings
from storage.access import S3Access
from storage.open import open_store
from tests.storage.streams import repeated


async def _half() -> AsyncIterator[bytes]:
    async for piece in repeated(b"h" * 65_536, 128):
        yield piece
    print("half", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(open_store(sys.argv[1], S3Access.of(Settings())).put(_half()))
