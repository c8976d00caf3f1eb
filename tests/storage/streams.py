"""Byte streams as the API would pass them on: in pieces, cut off, or standing still."""

import asyncio
from collections.abc import AsyncIterator


async def pieces_of(data: bytes, piece_bytes: int = 64 * 1024) -> AsyncIterator[bytes]:
    """The data in pieces, giving way to the loop before each."""
    for start in range(0, len(data), piece_bytes):
        await asyncio.sleep(0)
        yield data[start : start + piece_bytes]


async def repeated(piece: bytes, times: int) -> AsyncIterator[bytes]:
    """A large stream that takes no memory."""
    for _ in range(times):
        await asyncio.sleep(0)
        yield piece


async def cut_off(data: bytes) -> AsyncIterator[bytes]:
    """The data, and then what a lost connection raises."""
    async for piece in pieces_of(data):
        yield piece
    raise ConnectionResetError("the client went away")


async def standing_still(data: bytes, reached: asyncio.Event) -> AsyncIterator[bytes]:
    """The data, and then nothing more, without an end; `reached` is set once all of it was taken."""
    async for piece in pieces_of(data):
        yield piece
    reached.set()
    await asyncio.Event().wait()
