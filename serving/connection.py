"""HTTP/1.1 by hand: one connection, from bytes to requests and back, without a framework in between.

Answers go out in the order of the requests, also when a client sends several at once (pipelining).
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import cast

import httptools

from serving.crew import overloaded
from serving.hangup import has_hung_up
from serving.messages import PROBLEM_JSON, Application, Request, Response, ResponseEncoder, Waiting
from serving.outlet import Lending
from serving.parser import Parser
from serving.problems import Problem, encode_problem
from serving.room import SMALL_BYTES, SMALL_DIGITS, Room
from serving.tickets import deadline_of

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
MAX_HEAD_BYTES = 64 * 1024
MAX_WAITING = 32  # pipelined requests that are read ahead of the one being answered
SLOWEST_BYTES_PER_S = 64 * 1024  # of a body, lest one that comes by drops keeps its room from all others
LINGER_S = 2.0  # how long a refused body is read and dropped, so that its sender gets to see the refusal


class Connection(asyncio.Protocol):
    """One client's connection. Lives on the loop; httptools calls the `on_…` methods."""

    def __init__(
        self,
        application: Application,
        encoder: ResponseEncoder,
        max_body_bytes: int,
        all_open: set["Connection"],
        room: Room | None = None,
        quick: Callable[[bytes], bytes | None] | None = None,
    ):
        """`quick` answers a whole plain request, with nothing (empty) while one is coming; `None` leaves it to us."""
        self._application, self._encoder, self._open = application, encoder, all_open
        self._max_body_bytes, self._loop = max_body_bytes, asyncio.get_running_loop()
        self._parser = Parser(self)
        self._transport: asyncio.Transport | None = None
        self._line: deque[Waiting] = deque()
        self._lending = Lending(self._line)
        self._running: Waiting | None = None
        self._answer: asyncio.Future[Response] | None = None
        self._room, self._room_bytes, self._wanted_bytes = room, 0, 0  # what the body being read has and waits for
        self._quick, self._held, self._can_write = quick, b"", True
        self._is_reading = True  # False once this connection takes no further request
        self._is_draining = self._is_at_end = False
        self.begun, self.in_request = 0, False
        self._in_head = self._is_offer = False
        self._url, self._method, self._keep_alive = b"", b"", True
        self._headers: dict[bytes, bytes] = {}
        self._chunks: list[bytes] = []
        self._head_bytes = self._body_bytes = 0
        self.seen_at = self._began_at = self._loop.time()
        self.closed: asyncio.Future[None] = self._loop.create_future()

    # The transport calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.discard(self)
        self._transport, self._is_reading, self._held = None, False, b""
        self._line.clear()
        self._lending.close(self._answer, self._finished)
        self._leave_room()
        if self._answer is not None:
            self._answer.cancel()
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        self._can_write = False

    def resume_writing(self) -> None:
        self._can_write = True
        self._advance()

    def eof_received(self) -> bool:
        """A client may close its half after its last request and still read the answers."""
        self._lending.close(self._answer, self._finished)
        self._is_reading, self._is_at_end = False, True
        return self._is_busy() and not has_hung_up(self._transport)

    def data_received(self, data: bytes) -> None:
        self.seen_at = self._loop.time()
        if self._running is not None:
            self._lending.take_up(self._answer, self._finished)
        data, self._held = self._held + data if self._held else data, b""
        if self._quick is not None and self._is_at_rest() and self._transport is not None:
            answer = self._quick(data)
            if answer is not None:
                if answer:
                    self._transport.write(answer)
                else:
                    self._held = data
                return
        self._read(data)

    def _read(self, data: bytes) -> None:
        began_in_head = self._in_head
        while self._is_reading:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = self._without_offer() + data[upgrade.args[0] :]
                continue
            except httptools.HttpParserError as error:
                self._refuse(Problem(400, "malformed_request", f"this is not HTTP/1.1: {error}"))
            break
        if self._in_head and began_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse_head()

    # The parser calls these.

    def on_message_begin(self) -> None:
        self.in_request = self._in_head = True
        self.begun += 1
        self._began_at = self._loop.time()
        self._url, self._headers, self._chunks = b"", {}, []
        self._head_bytes = self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # else a trailer
            self._headers[name.lower()] = value
            self._head_bytes += len(name) + len(value) + 4

    def head(self) -> tuple[bytes, dict[bytes, bytes]]:
        return self._url, self._headers

    def on_head(self, method: bytes, url: bytes, headers: dict[bytes, bytes], body_bytes: int) -> None:
        self.on_message_begin()
        self._method, self._url, self._headers = method, url, headers
        self._in_head, self._keep_alive, self._is_offer = False, True, False
        if self._room is not None and self._is_reading:
            self._ask_room(self._room, body_bytes)

    def on_headers_complete(self) -> None:
        self._in_head = False
        if not self._is_reading:
            return
        headers = self._headers
        self._method, self._keep_alive = self._parser.get_method(), self._parser.should_keep_alive()
        self._is_offer = self._parser.should_upgrade() and self._method != b"CONNECT"
        if self._is_offer:
            return
        if self._head_bytes + len(self._url) > MAX_HEAD_BYTES:
            self._refuse_head()
        elif b"host" not in headers and self._parser.get_http_version() == "1.1":
            self._refuse(Problem(400, "malformed_request", "an HTTP/1.1 request needs a Host header"))
        elif int(headers.get(b"content-length", b"0")) > self._max_body_bytes:
            self._refuse_body()
        elif b"expect" in headers:
            if headers[b"expect"].lower() != b"100-continue":
                self._refuse(Problem(417, "expectation_failed", "the only expectation met here is 100-continue"))
            elif self._transport is not None and not self._is_busy():
                self._transport.write(CONTINUE)
        if self._room is not None and len(headers.get(b"content-length", b"")) >= SMALL_DIGITS:
            self._ask_room(self._room, int(headers[b"content-length"]))

    def on_body(self, body: bytes) -> None:
        if not self._is_reading:
            return
        self._body_bytes += len(body)
        if self._body_bytes > self._max_body_bytes:
            self._refuse_body()
        elif self._body_bytes > SMALL_BYTES and b"content-length" not in self._headers and not self._grow_room():
            self._refuse(overloaded("there is no room for so large a body"))
        else:
            self._chunks.append(body)

    def on_message_complete(self) -> None:
        self.in_request = False
        if not self._is_reading or self._is_offer:
            return
        body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks = []
        timeout = self._headers.get(b"portside-timeout")
        deadline = None if timeout is None else deadline_of(timeout)
        request = Request(self._method, self._url, self._headers, body, deadline)
        if self._room_bytes or self._wanted_bytes:
            self._keep_room(request)
        connection = b""
        if not self._keep_alive:
            self._is_reading, connection = False, b"close"
        elif b"connection" in self._headers:
            connection = b"keep-alive"  # an HTTP/1.0 client asks for it and wants to be told
        self._put(Waiting(request, connection, self._keep_alive))

    # Answering.

    def drain(self) -> None:
        """Finish what has begun, then close."""
        self._lending.close(self._answer, self._finished)
        self._read_held()
        self._is_draining = True
        if not self._is_busy() and not self.in_request and self._transport is not None:
            self._transport.close()

    def expire(self, now: float, request_s: float, idle_s: float) -> None:
        """Give up on a client that stopped in the middle of a request or is slow with it, that waited too long for
        room, or has been silent for long."""
        self._read_held()
        transport, silent_s, took_s = self._transport, now - self.seen_at, now - self._began_at
        if transport is None:
            return
        if self._wanted_bytes:
            if took_s > request_s:
                self._refuse(overloaded(f"there was no room for so large a body within {request_s:g} s"))
                if not transport.is_closing() and not transport.is_reading():
                    transport.resume_reading()  # to drop what still comes
        elif self.in_request and self._is_reading and transport.is_reading():
            if silent_s > request_s:
                detail = f"the rest of the request did not come within {request_s:g} s"
                self._refuse(Problem(408, "request_timeout", detail))
            elif took_s > request_s + self._body_bytes / SLOWEST_BYTES_PER_S:
                detail = f"after {took_s:.0f} s only {self._body_bytes} bytes of the body have come"
                self._refuse(Problem(408, "request_timeout", detail))
        elif silent_s > idle_s and not self._is_busy():
            transport.close()

    def _read_held(self) -> None:
        """Read here what was left to the compiled way until it was complete, as it takes long or is the last."""
        if self._held:
            data, self._held = self._held, b""
            self._read(data)

    def _is_at_rest(self) -> bool:
        """Whether nothing is half read, nothing waits, and what is answered now is not the last."""
        return not (self.in_request or self._running or self._line or self._is_draining) and (
            self._is_reading and self._can_write
        )

    def _is_busy(self) -> bool:
        return self._running is not None or bool(self._line)

    def _without_offer(self) -> bytes:
        """The head of a request that offers to upgrade (h2c, websocket), without the offer, for a fresh parser.

        An offer may be ignored, but httptools skips the body of a request that makes one.
        """
        if not self._is_offer:
            return b""
        self._parser, self._is_offer = Parser(self), False
        kept = {name: value for name, value in self._headers.items() if name not in (b"upgrade", b"connection")}
        lines = [b"%b %b HTTP/1.1" % (self._method, self._url), *(b"%b: %b" % header for header in kept.items())]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _refuse_head(self) -> None:
        self._refuse(Problem(431, "head_too_large", f"the request head is larger than {MAX_HEAD_BYTES} bytes"))

    def _refuse_body(self) -> None:
        detail = f"the body is larger than the {self._max_body_bytes} bytes allowed here"
        self._refuse(Problem(413, "too_large", detail, hint="send fewer records at a time"))

    def _refuse(self, problem: Problem) -> None:
        """Answer, in its turn, a request that will not be read any further, and then close."""
        if self._is_reading:
            self._is_reading = self._in_head = False
            self._chunks = []
            self._leave_room()
            self._put(Waiting(self._application.refusal(problem), b"close", keep_alive=False))

    def _put(self, waiting: Waiting) -> None:
        self._line.append(waiting)
        if self._running is not None:
            self._lending.take_up(self._answer, self._finished)
        self._advance()
        if len(self._line) > MAX_WAITING and self._transport is not None and self._transport.is_reading():
            self._transport.pause_reading()

    def _advance(self) -> None:
        """Answer those in the line, until one has to be waited for or the client does not read."""
        line = self._line
        while line and self._running is None and self._can_write:
            waiting = line.popleft()
            if isinstance(waiting.what, Response):
                self._write(waiting, waiting.what)
                continue
            request = waiting.what
            request.outlet = self._lending.lent(len(request.body), waiting.connection, self._transport)
            answer = self._application.answer(request)
            if isinstance(answer, Response):
                self._write(waiting, answer)
            else:
                self._running, self._answer = waiting, answer
                answer.add_done_callback(self._finished)
        if self._transport is not None and not line and not self._transport.is_reading():
            self._read_on(self._transport)

    def _read_on(self, transport: asyncio.Transport) -> None:
        if self._is_reading and not self._line and not self._wanted_bytes:
            self._began_at = self.seen_at = self._loop.time()  # it was not the client that was slow
            transport.resume_reading()

    def _finished(self, answer: "asyncio.Future[Response]") -> None:
        if answer is not self._answer:  # taken up before
            return
        waiting, self._running, self._answer = self._running, None, None
        if waiting is not None and self._transport is not None:
            self._write(waiting, answer.result())
            self._advance()

    def _write(self, waiting: Waiting, response: Response) -> None:
        transport = self._transport
        if transport is None:
            return
        is_last = not waiting.keep_alive or response.must_close
        if not self._line and (self._is_at_end or (self._is_draining and not self.in_request)):
            is_last = True
        connection = b"close" if is_last else waiting.connection
        what = waiting.what
        without_body = isinstance(what, Request) and what.method == b"HEAD"
        transport.write(self._encoder.rest(response, connection=connection, without_body=without_body))
        if is_last:
            self._is_reading = False
            self._line.clear()
            self._close(transport, lingers=self.in_request)

    def _close(self, transport: asyncio.Transport, *, lingers: bool) -> None:
        # Closing while the client still sends makes the kernel reset the connection, and the answer may be lost.
        if lingers and transport.can_write_eof():
            transport.write_eof()
            self._loop.call_later(LINGER_S, transport.close)
        else:
            transport.close()

    # Room for bodies.

    def _ask_room(self, room: Room, size_bytes: int) -> None:
        """Read no further until there is room for the body."""
        if size_bytes <= SMALL_BYTES or not self._is_reading:
            return
        if room.take(size_bytes):
            self._room_bytes = size_bytes
            return
        self._wanted_bytes = size_bytes
        room.wait(size_bytes, self._entered)
        if self._transport is not None and self._transport.is_reading():
            self._transport.pause_reading()

    def _entered(self) -> None:
        self._room_bytes, self._wanted_bytes = self._wanted_bytes, 0
        self._began_at = self.seen_at = self._loop.time()
        if self._transport is not None:
            self._read_on(self._transport)

    def _grow_room(self) -> bool:
        """Room for what came of a body that does not say how long it will be."""
        room, more_bytes = self._room, self._body_bytes - self._room_bytes
        if room is not None and more_bytes > 0:
            if not room.take(more_bytes):
                return False
            self._room_bytes += more_bytes
        return True

    def _keep_room(self, request: Request) -> None:
        """The body keeps its room for as long as it is in memory, also where nobody waits for its answer any more."""
        room, size_bytes, self._room_bytes = self._room, self._room_bytes, 0
        self._leave_room()  # small enough to come at once, while it waited
        if room is not None and size_bytes:
            room.keep(request, size_bytes)

    def _leave_room(self) -> None:
        """Give up what the body being read has, or its place in the line."""
        if self._room is None:
            return
        wanted_bytes, self._wanted_bytes = self._wanted_bytes, 0
        if wanted_bytes:
            self._room.leave(self._entered)
        had_bytes, self._room_bytes = self._room_bytes, 0
        if had_bytes:
            self._room.give_back(had_bytes)


def problem_response(problem: Problem, instance: str, request_id: str = "") -> Response:
    """A problem as a response."""
    return Response(problem.status, encode_problem(problem, instance, request_id), PROBLEM_JSON, problem.headers)
