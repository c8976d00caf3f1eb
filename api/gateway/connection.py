"""A hand-held HTTP/1.1 client connection to one replica: one request at a time, streaming both ways (RFC 9112)."""

import asyncio
import re
from collections import deque
from collections.abc import Callable, Sequence
from typing import cast
from urllib.parse import urlsplit

import httptools

HIGH_WATER_BYTES = 1024 * 1024  # of a response that the client has not taken yet
CONNECT_S = 2.0  # over TCP, the name's resolution included
Header = tuple[bytes, bytes]
# What ends a request line early, and would make two requests of one.
NOT_IN_A_TARGET = re.compile(rb"[\x00-\x20\x7f]")
ENDS_A_HEADER = re.compile(rb"[\r\n\0]")  # early, and so does the same


class ConnectionBroken(Exception):
    """The connection failed; `answered` says whether any byte of the response had come."""

    def __init__(self, why: str, *, answered: bool) -> None:
        super().__init__(why)
        self.answered = answered


class ReplicaConnection(asyncio.Protocol):
    """Feeds a response parser and hands its parts to the one request that uses the connection.

    That one either waits, in a coroutine (`head`, `next_chunk`), or is called whenever there is news (`listen`).
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._listener: Callable[[], None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._begin()
        self._complete = True  # nothing was asked yet: what comes now is nobody's answer

    def _begin(self) -> None:
        self.headers: list[Header] = []
        self._chunks: deque[bytes] = deque()
        self._buffered_bytes = 0
        self._head_complete = self._complete = self._answered = False
        self._status = 0
        self._failure: str | None = None

    # -- the transport's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its base class

    def data_received(self, data: bytes) -> None:
        if self._complete:  # an answer that nobody asked for would be taken for that of the next request
            self._fail("the replica sent more than its answer")
            self.close()
            return
        self._answered = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(f"the replica does not speak HTTP/1.1: {error}")
            self.close()
        if self._buffered_bytes > HIGH_WATER_BYTES and self._transport is not None:
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._writable.set()
        self._fail("the replica closed the connection" if error is None else str(error))

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # -- the parser's callbacks

    def on_message_begin(self) -> None:
        if self._complete:
            self._fail("the replica sent more than its answer")
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._complete:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if not self._complete:
            status = self._parser.get_status_code()
            if status < 200:  # we ask for none, and what follows would be taken for the next request's
                self._fail("the replica sent an interim answer")
                self.close()
            else:
                self._head_complete, self._status = True, status

    def on_body(self, body: bytes) -> None:
        if not self._complete:
            self._chunks.append(body)
            self._buffered_bytes += len(body)

    def on_message_complete(self) -> None:
        self._complete = True
        if not self._parser.should_keep_alive():
            self.close()

    # -- what a request does

    @property
    def is_usable(self) -> bool:
        """Whether another request may be sent."""
        return self._transport is not None and not self._transport.is_closing() and self._failure is None

    @property
    def status(self) -> int:
        """The response's status code, once its head is complete; until then 0."""
        return self._status

    @property
    def is_complete(self) -> bool:
        """Whether all of the response has come."""
        return self._complete

    @property
    def failure(self) -> str | None:
        """Why no more will come, if that is so."""
        return self._failure

    @property
    def is_answered(self) -> bool:
        """Whether any byte of the response has come."""
        return self._answered

    def start(self, method: bytes, target: bytes, headers: Sequence[Header], body: bytes) -> None:
        """Write the head and the first piece of the body. Raises ValueError for a target or a header that is more
        than one."""
        if NOT_IN_A_TARGET.search(target) is not None:
            raise ValueError(f"no request target: {target[:200]!r}")
        if ENDS_A_HEADER.search(b"".join([part for header in headers for part in header])) is not None:
            raise ValueError("a header has the end of a line within")
        if self._transport is None:
            raise ConnectionBroken("the connection is closed", answered=False)
        self._begin()
        lines = [method, b" ", target, b" HTTP/1.1\r\n"]
        for name, value in headers:
            lines += (name, b": ", value, b"\r\n")
        self._transport.write(b"".join([*lines, b"\r\n", body]))

    async def write(self, data: bytes) -> None:
        """Write more of the body, waiting while the replica does not take it."""
        await self._writable.wait()
        if self._transport is None:
            raise ConnectionBroken(self._failure or "the connection is closed", answered=self._answered)
        self._transport.write(data)

    async def head(self) -> int:
        """Wait for the response's head and answer its status. Raises `ConnectionBroken`."""
        while not self._head_complete:
            await self._something()
        return self.status

    async def next_chunk(self) -> tuple[bytes, bool]:
        """What came of the body since the last call, and whether more will come. Raises `ConnectionBroken`."""
        while not self._chunks and not self._complete:
            await self._something()
        data = self.take()
        self.pause(False)
        return data, not self._complete

    def listen(self, listener: Callable[[], None] | None) -> None:
        """Call `listener` whenever more of the response has come, or no more will; None ends that."""
        self._listener = listener

    def take(self) -> bytes:
        """What came of the body since the last call."""
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._buffered_bytes = 0
        return data

    def pause(self, paused: bool) -> None:
        """Read no more of the response for now, or go on."""
        if self._transport is not None and not self._transport.is_closing():
            if paused:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def close(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    async def _something(self) -> None:
        if self._failure is not None:
            raise ConnectionBroken(self._failure, answered=self._answered)
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _fail(self, why: str) -> None:
        self._failure = self._failure or why
        self._wake()

    def _wake(self) -> None:
        if self._listener is not None:
            self._listener()
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


async def connect(address: str) -> ReplicaConnection:
    """Open a connection to `unix:///path` or `http://host:port`. Raises `ConnectionBroken`."""
    loop, parts = asyncio.get_running_loop(), urlsplit(address)
    try:
        if parts.scheme == "unix":
            _, connection = await loop.create_unix_connection(ReplicaConnection, parts.path)
        else:
            async with asyncio.timeout(CONNECT_S):
                _, connection = await loop.create_connection(ReplicaConnection, parts.hostname or "", parts.port or 80)
    except OSError as error:  # a machine that is gone answers nothing: TimeoutError
        raise ConnectionBroken(f"the replica cannot be reached: {error.strerror or error!r}", answered=False) from error
    return connection


class ConnectionPool:
    """Idle keep-alive connections per address."""

    def __init__(self, max_idle: int = 64) -> None:
        self._idle: dict[str, list[ReplicaConnection]] = {}
        self._max_idle = max_idle

    async def take(self, address: str) -> tuple[ReplicaConnection, bool]:
        """A connection, and whether it was used before (and may have gone stale)."""
        connection = self.take_idle(address)
        return (await connect(address), False) if connection is None else (connection, True)

    def take_idle(self, address: str) -> ReplicaConnection | None:
        """A connection that was used before, if one is idle."""
        idle = self._idle.get(address)
        while idle:
            connection = idle.pop()
            if connection.is_usable:
                return connection
        return None

    def give(self, address: str, connection: ReplicaConnection) -> None:
        """Take back a connection whose response is complete."""
        idle = self._idle.setdefault(address, [])
        if connection.is_usable and len(idle) < self._max_idle:
            idle.append(connection)
        else:
            connection.close()

    @property
    def idle_count(self) -> int:
        """How many connections wait for a request."""
        return sum(map(len, list(self._idle.values())))

    def forget(self, live: set[str]) -> None:
        """Close the idle connections to addresses that are no longer routed to."""
        for address in self._idle.keys() - live:
            self.forget_address(address)

    def forget_address(self, address: str) -> None:
        """Close the idle connections to one address."""
        for connection in self._idle.pop(address, []):
            connection.close()

    def close(self) -> None:
        """Close every idle connection."""
        self.forget(set())
