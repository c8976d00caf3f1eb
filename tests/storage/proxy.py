"""A TCP proxy before a server, which cuts, stalls, refuses or answers by itself: the network on a bad day."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

PIECE_BYTES = 64 * 1024


@dataclass
class Trouble:
    """What happens to the next connections; `times` is how often a cut happens before the line is good again."""

    cut_after_sent: int | None = None
    cut_after_received: int | None = None
    cut_on_answer_to: bytes | None = None
    times: int = 1_000_000
    refuses_then: bool = False
    stalls: bool = False
    answers: bytes | None = None


class Proxy:
    """One listening port of loopback; set `trouble` at any time, open connections obey it too."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._lines: set[asyncio.Task[None]] = set()
        self.trouble = Trouble()
        self.cuts = self.received = 0
        self.port = 0

    async def listen(self) -> None:
        """Accept connections, again on the same port after `refuse`."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Close the port and all connections."""
        assert self._server is not None
        self._server.close()
        for line in self._lines:
            line.cancel()
        await asyncio.gather(*self._lines, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._lines.add(task)
        try:
            if self.trouble.refuses_then and self.cuts:
                return
            if self.trouble.answers is not None:
                await _swallow_request(reader)
                writer.write(self.trouble.answers)
                await writer.drain()
            else:
                await self._pass_on(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # an end like any other, and asyncio's server would log it
        finally:
            writer.transport.abort()
            self._lines.discard(task)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        line = _Line(self)
        there = asyncio.create_task(line.pump(reader, far_writer, is_request=True))
        back = asyncio.create_task(line.pump(far_reader, writer, is_request=False))
        try:
            await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in (there, back):
                pump.cancel()
            await asyncio.gather(there, back, return_exceptions=True)
            far_writer.transport.abort()


class _Line:
    """One connection through the proxy."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._sent = self._received = 0
        self._is_marked = False

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_request: bool) -> None:
        while piece := await reader.read(PIECE_BYTES):
            while self._proxy.trouble.stalls:
                await asyncio.sleep(0.02)
            if self._is_cut(piece, is_request=is_request):
                self._proxy.cuts += 1
                return
            writer.write(piece)
            await writer.drain()

    def _is_cut(self, piece: bytes, *, is_request: bool) -> bool:
        trouble = self._proxy.trouble
        if is_request:
            self._sent += len(piece)
            if trouble.cut_on_answer_to is not None:
                self._is_marked = trouble.cut_on_answer_to in piece
        else:
            self._received += len(piece)
            self._proxy.received += len(piece)
        is_due = (
            (trouble.cut_after_sent is not None and self._sent > trouble.cut_after_sent)
            or (trouble.cut_after_received is not None and self._received > trouble.cut_after_received)
            or (self._is_marked and not is_request)
        )
        return is_due and self._proxy.cuts < trouble.times


async def _swallow_request(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            await reader.readexactly(int(line.partition(b":")[2]))


def http_answer(status: str, body: str, content_type: str = "application/xml") -> bytes:
    """An HTTP/1.1 answer that ends its connection."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body.encode())}\r\n"
    return f"{head}Connection: close\r\n\r\n{body}".encode()


@asynccontextmanager
async def proxy_before(port: int) -> AsyncIterator[Proxy]:
    """A proxy in good weather, until the block ends."""
    proxy = Proxy(port)
    await proxy.listen()
    try:
        yield proxy
    finally:
        with suppress(asyncio.CancelledError):
            await proxy.refuse()
