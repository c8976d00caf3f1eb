"""HTTP/1.1 requests from bytes: by httptools, but a large one with the last large one's head by that, not read again.

The bytes say all about a head, so where they are the same to the last one, so is what was found in them. To find it
again takes a twentieth of a millisecond behind a model that has just emptied the caches.
"""

from dataclasses import dataclass
from typing import Final, Protocol

import httptools

LARGE_BYTES: Final = 16 * 1024  # of a body
END: Final = b"\r\n\r\n"
_LONGEST_BYTES: Final = 4096
_LONGEST_DIGITS: Final = 12
# With these a head says more than how long the body is.
_OTHERS: Final = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"connection", b"trailer"})


class Reader(Protocol):
    """What is told of requests, in the order in which they come; see httptools."""

    in_request: bool  # one has begun, and is not complete
    begun: int  # how many have begun

    def on_message_begin(self) -> None: ...
    def on_url(self, url: bytes) -> None: ...
    def on_header(self, name: bytes, value: bytes) -> None: ...
    def on_headers_complete(self) -> None: ...
    def on_body(self, body: bytes) -> None: ...
    def on_message_complete(self) -> None: ...

    def head(self) -> tuple[bytes, dict[bytes, bytes]]:
        """The target and the headers that it was told of last."""
        ...

    def on_head(self, method: bytes, url: bytes, headers: dict[bytes, bytes], body_bytes: int) -> None:
        """All of a head at once, as it was told before, when nothing was wrong with it."""
        ...


@dataclass(frozen=True, slots=True)
class _Head:
    text: bytes
    method: bytes
    url: bytes
    headers: dict[bytes, bytes]
    body_bytes: int


class Parser:
    """Of one connection. Raises what httptools raises."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.on_url, self.on_header, self.on_body = reader.on_url, reader.on_header, reader.on_body
        self.on_message_begin, self.on_message_complete = reader.on_message_begin, reader.on_message_complete
        self.on_headers_complete = reader.on_headers_complete
        self._parser = httptools.HttpRequestParser(self)
        self._last: _Head | None = None  # the last large head
        self._left_bytes = 0  # of the body of a request whose head was there before

    def get_method(self) -> bytes:
        """The method of the request whose headers are complete."""
        method: bytes = self._parser.get_method()
        return method

    def get_http_version(self) -> str:
        """Its version of HTTP."""
        version: str = self._parser.get_http_version()
        return version

    def should_keep_alive(self) -> bool:
        """Whether the connection may stay open behind it."""
        return bool(self._parser.should_keep_alive())

    def should_upgrade(self) -> bool:
        """Whether it offers to speak another protocol."""
        return bool(self._parser.should_upgrade())

    def feed_data(self, data: bytes) -> None:
        """Read on."""
        if self._left_bytes:
            self._read_body(data)
        elif self._reader.in_request:
            self._parser.feed_data(data)
        elif self._last is not None and data.startswith(self._last.text):
            head = self._last
            self._left_bytes = head.body_bytes
            self._reader.on_head(head.method, head.url, head.headers, head.body_bytes)
            self._read_body(data[len(head.text) :])
        else:
            begun = self._reader.begun
            self._parser.feed_data(data)
            if self._reader.begun == begun + 1:
                self._learn(data)

    def _read_body(self, data: bytes) -> None:
        body, rest = data[: self._left_bytes], data[self._left_bytes :]
        self._left_bytes -= len(body)
        if body:
            self._reader.on_body(body)
        if not self._left_bytes:
            self._reader.on_message_complete()
            if rest:
                self.feed_data(rest)

    def _learn(self, data: bytes) -> None:
        """Remember the head of the one request that began with these bytes, if it can be read in one way only."""
        if len(data) < LARGE_BYTES and not self._reader.in_request:
            return  # a small one
        text = data[: data.find(END, 0, _LONGEST_BYTES) + len(END)]
        url, headers = self._reader.head()
        length = headers.get(b"content-length", b"")
        if not text.startswith(b"%b %b HTTP/1.1\r\n" % (self._parser.get_method(), url)):
            return
        if text.count(b"\n") > text.count(b"\r\n") or not headers.keys().isdisjoint(_OTHERS):
            return
        if length.isdigit() and len(length) <= _LONGEST_DIGITS and int(length) >= LARGE_BYTES:
            self._last = _Head(text, self._parser.get_method(), url, headers, int(length))
