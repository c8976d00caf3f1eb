"""Lines that a child writes on a pipe, read on the event loop by the descriptor itself.

Not by `connect_read_pipe`: uvloop closes the descriptor of a file object, and the file object closes its number again,
which may be another thread's new file by then (seen: `rmtree` in a thread found its own folder closed).
"""

import asyncio
import os
from collections.abc import Callable

PIECE_BYTES = 64 * 1024


class LineTooLong(ValueError):
    """A line that has no end within the limit."""


class LineReader:
    """Owns the reading end of a pipe. Nothing is read before somebody asks: who writes more has to wait."""

    def __init__(self, descriptor: int, longest: int) -> None:
        self._descriptor, self._longest = descriptor, longest
        self._rest, self._searched = bytearray(), 0
        os.set_blocking(descriptor, False)

    async def readline(self) -> bytes:
        """The next line with its end; what follows the last one without it; nothing at the end. Raises
        `LineTooLong`."""
        while (end := self._rest.find(b"\n", self._searched)) < 0:
            self._searched = len(self._rest)
            if self._searched > self._longest:
                raise LineTooLong(f"a line of more than {self._longest} bytes")
            piece = await self._piece()
            if not piece:
                return self._cut(len(self._rest))
            self._rest += piece
        return self._cut(end + 1)

    def close(self) -> None:
        """Give the descriptor back; nobody reads any more."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _cut(self, length: int) -> bytes:
        line, self._searched = bytes(self._rest[:length]), 0
        del self._rest[:length]
        return line

    async def _piece(self) -> bytes:
        while True:
            try:
                return os.read(self._descriptor, PIECE_BYTES)
            except BlockingIOError:
                await self._readable()

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        there: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._descriptor, _settle(there))
        try:
            await there
        finally:
            loop.remove_reader(self._descriptor)


def _settle(there: "asyncio.Future[None]") -> Callable[[], None]:
    def settle() -> None:
        if not there.done():
            there.set_result(None)

    return settle
