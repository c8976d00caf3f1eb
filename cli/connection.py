"""One client's connection: uvicorn's protocol, with an end to patience and memory, and problems as answers.

uvicorn itself says `Invalid HTTP request received.` as plain text, waits for a head for ever, keeps a head of any size,
and loses the body of a request that offers to upgrade (as Java's client and `curl --http2` do).
"""

import asyncio
import json
import re
from http import HTTPStatus
from typing import Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from core.errors import FieldProblem, Incomplete, PlatformError, Rejected
from core.ids import new_id

MAX_HEAD_BYTES: Final = 64 * 1024
HEAD_S: Final = 4.5  # for a head that has begun; the first one begins with the connection
STREAM: Final = re.compile(rb"/api/v1/jobs/[^/]+/runs/[^/]+/stream")
LINGER_S: Final = 2.0  # how long a refused request is read on, so that its sender gets to see the refusal


class MalformedRequest(Rejected):
    """The bytes are no HTTP/1.1 request."""

    status, code, title = 400, "malformed_request", "Not an HTTP request"


class HeadTooLarge(Rejected):
    """Path and headers together are larger than anybody needs."""

    status, code, title = 431, "head_too_large", "The request head is too large"


class HeadStalled(Rejected):
    """The client began a request and did not go on."""

    status, code, title = 408, "head_stalled", "The request did not arrive"


class ClientConnection(HttpToolsProtocol):
    """Answers every request in its turn, the one that cannot be read as well, and then closes."""

    _in_head = _is_offer = False
    _head_bytes = 0
    _refusal: PlatformError | None = None
    _deadline: asyncio.TimerHandle | None = None
    _last: RequestResponseCycle | None = None  # the request whose head came last

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_nothing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            return
        self._unset_keepalive_if_required()
        before = self._in_head
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            self._refuse(self._malformed(str(error)))
            return
        if before and self._in_head:
            self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(HeadTooLarge(f"path and headers have more than {MAX_HEAD_BYTES} bytes; send less"))
        elif self._in_head and self._deadline is None:
            self._expect_head()

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio's own has it, uvicorn's always closes
        """Whether the connection stays open for our answer: only where the client's end came too early."""
        is_short = self._last is not None and self._last.more_body and not self._last.response_complete
        if self._refusal is None and (self._in_head or is_short):
            detail = "the connection was closed before all that was announced had come"
            self._refuse(Incomplete(f"{detail}; send the request again", fields=[FieldProblem("", detail)]))
            return True
        return False

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0

    def on_url(self, url: bytes) -> None:
        self.url += url
        self._head_bytes += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # else a trailer
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))
            self._head_bytes += len(name) + len(value) + 4

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._expect_nothing()
        self._is_offer = self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"
        if self._head_bytes <= MAX_HEAD_BYTES and not self._is_offer:
            super().on_headers_complete()
            self._last = self.cycle

    def on_body(self, body: bytes) -> None:
        if self._head_bytes <= MAX_HEAD_BYTES:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._is_offer and self._head_bytes <= MAX_HEAD_BYTES:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._refusal is not None and self._last is not None and self._last.response_complete:
            self._say_no(self._refusal)

    def _feed(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                if not self._is_offer:
                    return
                if self._may_hand_over():
                    self._hand_over(data[upgrade.args[0] :])
                    return
                data = self._without_offer() + data[upgrade.args[0] :]

    def _may_hand_over(self) -> bool:
        """Whether a WebSocket is offered where there is one; any other offer is ignored."""
        is_free = self._last is None or self._last.response_complete
        wanted = (b"upgrade", b"websocket") in [(name, value.lower()) for name, value in self.headers]
        has_stream = STREAM.fullmatch(self.url.partition(b"?")[0]) is not None
        return wanted and has_stream and is_free and self.ws_protocol_class is not None

    def _hand_over(self, rest: bytes) -> None:
        """Let the protocol of WebSockets go on with this connection, from the head of the request on."""
        self._expect_nothing()
        self.connections.discard(self)
        lines = [b"GET %b HTTP/1.1" % self.url, *(b"%b: %b" % header for header in self.headers)]
        given: dict[str, Any] = {"server_state": self.server_state, "app_state": self.app_state}
        speaks: Any = self.ws_protocol_class
        protocol = speaks(config=self.config, **given)
        protocol.connection_made(self.transport)
        self.transport.set_protocol(protocol)
        protocol.data_received(b"\r\n".join(lines) + b"\r\n\r\n" + rest)

    def _without_offer(self) -> bytes:
        """The head again, for a fresh parser: an offer may be ignored (RFC 9110, 7.8), its request may not."""
        method = self.parser.get_method()
        self.parser, self._is_offer = httptools.HttpRequestParser(self), False
        kept = [(name, value) for name, value in self.headers if name not in (b"upgrade", b"connection")]
        lines = [b"%b %b HTTP/1.1" % (method, self.url), *(b"%b: %b" % header for header in kept)]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _malformed(self, why: str) -> MalformedRequest:
        detail = f"what came is not HTTP/1.1: {why}"
        if self._last is None and "Content-Length" not in why:
            return MalformedRequest(detail, fields=[FieldProblem("", detail)])
        hint = "a body that is larger than its Content-Length says looks like this, too: announce all of it"
        return MalformedRequest(f"{detail}; {hint}", fields=[FieldProblem("/Content-Length", detail, hint)])

    def _expect_head(self) -> None:
        self._deadline = self.loop.call_later(HEAD_S, self._give_up)

    def _expect_nothing(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        if self._in_head:
            self._refuse(HeadStalled(f"no whole request head came within {HEAD_S:g} s; send the request again"))
        elif not self.transport.is_closing():
            self.transport.close()  # it never said anything

    def _refuse(self, refusal: PlatformError) -> None:
        self._refusal = refusal
        self._expect_nothing()
        cycle = self._last
        if cycle is None or cycle.response_complete:
            self._say_no(refusal)
        elif cycle.more_body:  # it is this request's own body that cannot be read: nobody may wait for its rest
            if self.pipeline and self.pipeline[0][0] is cycle:
                self.pipeline.popleft()
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self.transport.close()
            else:
                self._say_no(refusal)

    def _say_no(self, refusal: PlatformError) -> None:
        if self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        body = json.dumps({**refusal.as_problem(), "instance": "", "request_id": new_id("req")}).encode()
        phrase = HTTPStatus(refusal.status).phrase.encode()
        head = b"HTTP/1.1 %d %b\r\ncontent-type: application/problem+json\r\ncontent-length: %d\r\nconnection: close"
        self.transport.write(head % (refusal.status, phrase, len(body)) + b"\r\n\r\n" + body)
        # Closing while the client still sends makes the kernel reset the connection, and the answer may be lost.
        self.flow.resume_reading()
        self.transport.write_eof()
        self.loop.call_later(LINGER_S, self.transport.close)
