"""A program that puts 2 MiB into the store at a URL where the system grants files of 1 MiB; prints what it was told."""

import asyncio
import resource
import sys

from core.errors import PlatformError
from storage.open import open_store
from tests.storage.streams import repeated


async def _main(url: str) -> None:
    store = open_store(url)
    try:
        await store.put(repeated(b"f" * 65_536, 32))
    except PlatformError as error:
        print(error.status, error.code, [digest async for digest in store.list()])


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * 1024, 1024 * 1024))
    asyncio.run(_main(sys.argv[1]))
