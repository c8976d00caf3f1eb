"""A small HTTP receiver on a real socket: keeps what it was sent, answers what it is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Received:
    """One request."""

    line: str
    headers: dict[str, str]
    body: bytes
    local: str = ""  # the address of ours that was connected to


@dataclass
class Receiver:
    """Answers the n-th request with the n-th of `answers`, the last one for ever."""

    answers: list[str] = field(default_factory=lambda: ["200 OK"])
    extra_head: str = ""
    pause: asyncio.Event | None = None
    received: list[Received] = field(default_factory=list)
    serving: set[asyncio.Task[None]] = field(default_factory=set)
    port: int = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/hook"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read one request and answer it, unless the test is over before."""
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        try:
            # Its sender has died; or the test is over, and streams log a task that was cancelled.
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._answer(reader, writer)
        finally:
            writer.transport.abort()
            self.serving.discard(task)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.split(": ", 1) for line in head[1:] if line)
        headers = {name.lower(): value for name, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        number = len(self.received)
        self.received.append(Received(head[0], headers, body, writer.get_extra_info("sockname")[0]))
        if self.pause is not None:
            await self.pause.wait()
        answer = self.answers[min(number, len(self.answers) - 1)]
        writer.write(f"HTTP/1.1 {answer}\r\n{self.extra_head}content-length: 0\r\n\r\n".encode())
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def open_receiver(**options: object) -> AsyncIterator[Receiver]:
    """A listening receiver."""
    receiver = Receiver(**options)  # type: ignore[arg-type]  # the dataclass names and checks them
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        hanging = list(receiver.serving)
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
        await server.wait_closed()
