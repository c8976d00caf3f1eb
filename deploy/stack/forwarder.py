"""Stands in for haproxy where there is none: `python -m deploy.stack.forwarder PORT HOST:PORT…` passes connections on.

Like the real proxy it asks /readyz again and again and leaves out who does not answer. It knows no HTTP beyond that: a
connection stays with the process that it began with.
"""

import asyncio
import itertools
import sys
from collections.abc import Sequence

LOOK_S = 0.5  # half of the real one's: on a machine with other work it still sees in time who leaves
ANSWER_S = 1.0
FALL = 2
CHUNK_BYTES = 64 * 1024
QUESTION = b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"


class Backend:
    """One API process: its address, and whether it has answered lately."""

    def __init__(self, address: str) -> None:
        self.host, _, port = address.rpartition(":")
        self.port = int(port)
        self.misses = 0

    @property
    def is_up(self) -> bool:
        """Whether connections go there."""
        return self.misses < FALL

    async def watch(self) -> None:
        """Ask for as long as we live."""
        while True:
            try:
                async with asyncio.timeout(ANSWER_S):
                    self.misses = 0 if await self._is_ready() else self.misses + 1
            except (OSError, TimeoutError):
                self.misses += 1
            await asyncio.sleep(LOOK_S)

    async def _is_ready(self) -> bool:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            writer.write(QUESTION)
            return b" 200 " in await reader.readline()
        finally:
            writer.close()


class Forwarder:
    """Gives each new connection to the next backend that is up."""

    def __init__(self, backends: Sequence[Backend]) -> None:
        self._backends = backends
        self._turn = itertools.count()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one connection on, both ways, until both ends are done."""
        first = next(self._turn)
        ordered = [self._backends[(first + step) % len(self._backends)] for step in range(len(self._backends))]
        for backend in sorted(ordered, key=lambda one: not one.is_up):  # stable: in turn among those that are up
            try:
                theirs, ours = await asyncio.open_connection(backend.host, backend.port)
            except OSError:
                backend.misses += 1
                continue
            await asyncio.gather(_pass(reader, ours), _pass(theirs, writer))
            ours.close()
            break
        else:
            writer.write(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        writer.close()


async def _pass(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while chunk := await source.read(CHUNK_BYTES):
            sink.write(chunk)
            await sink.drain()
        sink.write_eof()
    except OSError:
        sink.transport.abort()


async def forward(port: int, addresses: Sequence[str]) -> None:
    """Listen on loopback until the process is ended."""
    backends = [Backend(address) for address in addresses]
    server = await asyncio.start_server(Forwarder(backends).serve, "127.0.0.1", port)
    async with server:
        await asyncio.gather(server.serve_forever(), *(backend.watch() for backend in backends))


if __name__ == "__main__":
    asyncio.run(forward(int(sys.argv[1]), sys.argv[2:]))
