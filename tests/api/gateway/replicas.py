"""Small real HTTP/1.1 servers on unix sockets, or TCP, that behave like good and bad replicas."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

TURNS = 5  # of the loop, within which a connection that was just accepted has got its task
Answer = Callable[["Seen", asyncio.StreamWriter], Awaitable[None]]


@dataclass(slots=True)
class Seen:
    """One request as the replica received it."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class FakeReplica:
    """Counts what it saw; `answer` writes the response."""

    address: str
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0


async def ok(seen: Seen, writer: asyncio.StreamWriter) -> None:
    body = b'{"outputs":1}'
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body)


@asynccontextmanager
async def replica(
    folder: Path, name: str = "r.sock", answer: Answer = ok, *, over_tcp: bool = False
) -> AsyncIterator[FakeReplica]:
    """A replica that answers every request of every connection with `answer` until the block ends."""
    found = FakeReplica(f"unix://{folder / name}")
    tasks: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.connections += 1
        tasks.add(asyncio.current_task())
        try:
            while True:
                seen = await _read(reader)
                found.seen.append(seen)
                await answer(seen, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    if over_tcp:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        found.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    else:
        server = await asyncio.start_unix_server(serve, folder / name)
    try:
        yield found
    finally:
        server.close()
        for _ in range(TURNS):
            await asyncio.sleep(0)
        for task in tasks:
            assert task is not None
            task.cancel()
        await asyncio.gather(*(task for task in tasks if task), return_exceptions=True)
        (folder / name).unlink(missing_ok=True)


async def _read(reader: asyncio.StreamReader) -> Seen:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    if headers.get("transfer-encoding") == "chunked":
        return Seen(head[0], headers, await _read_chunks(reader))
    return Seen(head[0], headers, await reader.readexactly(int(headers.get("content-length", "0"))))


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int((await reader.readline()).strip(), 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)
    return body
