"""Answers that stream end when their reader is admitted no more: a token may be revoked, or expire, while they run."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from typing import Final

from starlette.requests import Request

from api.dependencies import Context
from core.errors import Forbidden, Unauthenticated

LOOK_S: Final = 2.0  # how long a silent stream outlives what the snapshot of tokens says
MOST_WAITING: Final = 8  # pieces that a slow reader has not taken


async def while_admitted(
    request: Request, context: Context, pieces: AsyncIterator[bytes]
) -> AsyncGenerator[bytes, None]:
    """The pieces as they come, as long as the request would be admitted. Raises what they raise."""
    queue: asyncio.Queue[bytes] = asyncio.Queue(MOST_WAITING)
    told = asyncio.Event()

    async def pump() -> None:
        async for piece in pieces:
            await queue.put(piece)
            told.set()

    pumping = asyncio.create_task(pump(), name="stream")  # one for all pieces: what makes them may not change its task
    pumping.add_done_callback(lambda _: told.set())
    try:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await told.wait()
            told.clear()
            has_ended = pumping.done()
            while _is_admitted(request, context) and not queue.empty():
                yield queue.get_nowait()
            if has_ended or not _is_admitted(request, context):
                break
        if has_ended:
            await pumping
    finally:
        await _end(pumping, pieces)


async def _end(pumping: asyncio.Task[None], pieces: AsyncIterator[bytes]) -> None:
    pumping.cancel()
    await asyncio.wait([pumping])
    if not pumping.cancelled():
        pumping.exception()  # told above, where somebody still listens
    if isinstance(pieces, AsyncGenerator):
        await pieces.aclose()


def _is_admitted(request: Request, context: Context) -> bool:
    try:
        context.authenticator.authenticate(request.headers.raw)
    except (Unauthenticated, Forbidden):
        return False
    return True
