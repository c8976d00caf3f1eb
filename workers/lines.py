"""Lines that a child writes on a pipe, read on the event loop by the descriptor itself.

Not by `connect_read_pipe`: uvloop closes the descriptor of a file object, and the file object closes its number again,
which may be another thread's new file by then (seen: `rmtree` in a thread found its own folder closed).
"""

import asyncio
import os

PIECE_BYTES = 64 * 1024


class LineTooLong(ValueError):
    """A line that has no end within the limit."""


class LineReader:
    """Owns the reading end of a pipe. Nothing is read before somebody asks: who writes more has to wait."""

    def __init__(self, descriptor: int, longest: int) -> None:
        self._descriptor, self._longest = descriptor, longest
        self._rest, self._searched = bytearray(), 0
        self._is_last, self._there = False, asyncio.Event()
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

    def end_when_empty(self) -> None:
        """Who wrote has ended, so that all of it is there: somebody else may hold their end of the pipe for ever."""
        self._is_last = True
        self._there.set()

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
                if self._is_last:
                    return b""
                await self._readable()

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        self._there.clear()
        loop.add_reader(self._descriptor, self._there.set)
        try:
            await self._there.wait()
        finally:
            loop.remove_reader(self._descriptor)
