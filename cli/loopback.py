"""Requests to a platform on this machine, by the standard library: httpx2 takes longer to load than it to answer.

No TLS, no proxy, and a connection for each request: it costs next to nothing here, and none can have grown stale.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Protocol, cast
from urllib.parse import quote, urlencode, urlsplit

from portside.errors import broken_off, nobody_answers, too_late
from portside.messages import Query, Reply, Request
from portside.requests import bearer
from portside.session import Transport
from portside.sources import Source

IN_A_PATH = "/:@!$&'()*+,;=~%"  # what may stand there as it is (RFC 3986, 3.3), and what is encoded already


Received = AbstractContextManager[tuple[Mapping[str, str], Iterator[bytes]]]


class CommandTransport(Transport, Protocol):
    """What the command line needs of a transport."""

    def stream(
        self, path: str, query: Query, token: str | None, headers: Mapping[str, str], idle_s: float | None
    ) -> Iterator[str]:
        """The text of an answer as it comes. Raises `ConnectionFailed` and `ApiError`."""

    def receive(self, path: str, token: str | None, idle_s: float) -> Received:
        """The headers of an answer, and its bytes as they come. Raises `ConnectionFailed` and `ApiError`."""


class LoopbackTransport:
    """Requests from this thread. What is streamed, up or down, goes through another transport, made when needed."""

    def __init__(self, url: str, open_other: Callable[[str], CommandTransport]) -> None:
        """The address is `http://` and of this machine. Raises `InvalidAddress`."""
        self.url = url
        parts = urlsplit(url)
        self._host, self._port, self._root = parts.hostname or "", parts.port or 80, parts.path
        self._open_other = open_other
        self._other: CommandTransport | None = None

    async def exchange(self, request: Request, token: str | None, idle_s: float) -> Reply:
        """Send it once. Raises `ConnectionFailed`."""
        body = request.body
        if not isinstance(body, bytes | None):
            return await self._streaming().exchange(request, token, idle_s)
        with closing(HTTPConnection(self._host, self._port, timeout=idle_s)) as connection:
            self._connect(connection, idle_s)
            try:
                response = self._ask(connection, request, body, token)
                content = response.read()
            except TimeoutError as error:
                raise too_late(self.url, idle_s, was_sent=True) from error
            except (OSError, HTTPException) as error:
                raise broken_off(self.url, error) from error
        return Reply(response.status, cast(Mapping[str, str], response.headers), content)

    def stream(
        self, path: str, query: Query, token: str | None, headers: Mapping[str, str], idle_s: float | None
    ) -> Iterator[str]:
        """The text of an answer as it comes. Raises `ConnectionFailed` and `ApiError`."""
        return self._streaming().stream(path, query, token, headers, idle_s)

    def receive(self, path: str, token: str | None, idle_s: float) -> Received:
        """The headers of an answer, and its bytes as they come. Raises `ConnectionFailed` and `ApiError`."""
        return self._streaming().receive(path, token, idle_s)

    async def pause(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)  # noqa: ASYNC251 - no loop runs this coroutine

    async def digest(self, source: Source) -> str:
        """Hash it here."""
        return source.digest()

    async def close(self) -> None:
        """Close the other transport."""
        if self._other is not None:
            await self._other.close()

    def _streaming(self) -> CommandTransport:
        if self._other is None:
            self._other = self._open_other(self.url)
        return self._other

    def _connect(self, connection: HTTPConnection, idle_s: float) -> None:
        try:
            connection.connect()
        except TimeoutError as error:
            raise too_late(self.url, idle_s, was_sent=False) from error
        except OSError as error:
            raise nobody_answers(self.url) from error

    def _ask(self, connection: HTTPConnection, request: Request, body: bytes | None, token: str | None) -> HTTPResponse:
        target = quote(self._root + request.path, safe=IN_A_PATH)
        if request.query:
            target += f"?{urlencode(request.query)}"
        # Who refuses early has answered already, and reads no more.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.request(request.method, target, body, {**request.headers, **bearer(token)})
        return connection.getresponse()
