"""Work that is given up when somebody asks for the end meanwhile."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def unless_asked(asked: asyncio.Event, work: Awaitable[T]) -> T | None:
    """What it answers, or nothing when we are asked to end before (an artifact may take long to come)."""
    working = asyncio.ensure_future(work)
    asking = asyncio.create_task(asked.wait())
    try:
        await asyncio.wait({working, asking}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        asking.cancel()
        working.cancel()
        await asyncio.gather(working, asking, return_exceptions=True)
