"""Requests and responses as the server's parts pass them on, and a response's bytes."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from serving.problems import Problem

if TYPE_CHECKING:
    from serving.outlet import Outlet

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"

_REASONS = {status.value: status.phrase for status in HTTPStatus}


# Not frozen, though nobody changes them: a frozen one takes three times as long to make, 3 µs a prediction in all.
@dataclass(slots=True, weakref_slot=True)
class Request:
    """One request, complete: `target` as it was sent, header names in lower case, `deadline` of `time.monotonic`."""

    method: bytes
    target: bytes
    headers: Mapping[bytes, bytes]
    body: bytes
    deadline: float | None = None
    outlet: "Outlet | None" = None  # for a thread that answers it


@dataclass(slots=True)
class Response:
    """One answer. `must_close` ends the connection after it."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    must_close: bool = False
    left: bytes | memoryview | None = None  # what is still to be written, where a thread has sent the rest


@dataclass(slots=True)
class Waiting:
    """A request in its place in the line, or the response that already stands there."""

    what: Request | Response
    connection: bytes  # the value of the response's Connection header
    keep_alive: bool


class Application(Protocol):
    """What answers requests. It never raises."""

    def answer(self, request: Request) -> "Response | asyncio.Future[Response]":
        """The response, or a future of it when the work is done elsewhere."""
        ...

    def refusal(self, problem: Problem) -> Response:
        """The response to a request that could not be read."""
        ...


class ResponseEncoder:
    """Writes response heads; remembers the `Date` for a second and the rest of the common head for good."""

    def __init__(self) -> None:
        self._second = 0
        self._head_200 = b""
        self._heads: dict[str, bytes] = {}  # of this second, by content type

    def encode(self, response: Response, *, connection: bytes = b"", without_body: bool = False) -> bytes:
        """The bytes of a response; `connection` is the value of that header, if it needs one."""
        second = int(time.time())
        if second != self._second:
            self._second, self._heads = second, {}
            date = formatdate(second, usegmt=True).encode()
            self._head_200 = b"HTTP/1.1 200 OK\r\ndate: " + date + b"\r\ncontent-type: application/json\r\n"
        if response.status == 200 and response.content_type is JSON and not response.headers:
            head = self._head_200
        elif response.status == 200 and not response.headers:
            head = self._heads.get(response.content_type) or self._kept(response)
        else:
            head = self._head(response)
        if connection:
            head += b"connection: " + connection + b"\r\n"
        body = b"" if without_body else response.body
        return b"%bcontent-length: %d\r\n\r\n%b" % (head, len(response.body), body)

    def rest(self, response: Response, *, connection: bytes, without_body: bool) -> bytes | memoryview:
        """What is still to be written of a response: all of it, unless a thread has sent some."""
        if response.left is not None:
            return response.left
        return self.encode(response, connection=connection, without_body=without_body)

    def _kept(self, response: Response) -> bytes:
        head = self._heads[response.content_type] = self._head(response)
        return head

    def _head(self, response: Response) -> bytes:
        lines = [
            f"HTTP/1.1 {response.status} {_REASONS.get(response.status, 'Unknown')}",
            f"date: {formatdate(self._second, usegmt=True)}",
            f"content-type: {response.content_type}",
            *(f"{name}: {value}" for name, value in response.headers.items()),
        ]
        return ("\r\n".join(lines) + "\r\n").encode("latin-1", "replace")
