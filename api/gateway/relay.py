"""One prediction on the short way: its body is gathered, sent over an idle connection of a replica, the answer passed
back.

No task and no coroutine: whoever has news calls. What is not straightforward (no connection is idle, or one has gone
stale) is left to the long way, which can wait and try again; up to then the client has seen nothing.
"""

from http import HTTPStatus
from typing import Final, Protocol

from api.gateway.connection import Header, ReplicaConnection
from api.gateway.forward import HOP_BY_HOP, UNAUTHENTICATED, BadGateway, GatewayTimeout, HandedOver, failed
from api.gateway.metrics import Tallies
from api.gateway.paths import Asked
from api.gateway.refusing import status_of
from api.gateway.table import Backend
from core.errors import BodyStalled, PlatformError
from state.queries.routing import RoutedService

STATUS_LINES: Final = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode()) for status in HTTPStatus
}
NOT_PASSED_BACK: Final = HOP_BY_HOP | {b"x-request-id"}
WITHOUT_BODY: Final = (204, 304)
LEFT: Final = 499


class Client(Protocol):
    """The connection on which a request came."""

    def write(self, data: bytes) -> None:
        """Send a piece of the answer."""
        ...

    def finished(self, relay: "Relay") -> None:
        """The answer is complete."""
        ...

    def go_long(self, relay: "Relay") -> None:
        """Nothing was answered: let the long way have it."""
        ...

    def refuse(self, relay: "Relay", error: PlatformError) -> None:
        """Nothing was answered: say this."""
        ...

    def cut(self) -> None:
        """Half an answer was sent: only closing the connection can still say so."""
        ...

    def common_head(self) -> bytes:
        """The headers of every answer, as lines."""
        ...


class Way(Protocol):
    """Where connections come from and what is over is counted: `short.ShortWay`."""

    tallies: Tallies

    def pick(self, service: RoutedService) -> Backend | None:
        """The best backend now, if there is one."""
        ...

    def take(self, service: RoutedService, backend: Backend) -> ReplicaConnection | None:
        """An idle connection and a turn; `give` both back."""
        ...

    def give(self, service: RoutedService, backend: Backend, connection: ReplicaConnection, *, is_whole: bool) -> None:
        """Take back what `take` gave."""
        ...

    def refused(self, backend: Backend) -> None:
        """Who listens there is another one."""
        ...

    def gone_stale(self, backend: Backend) -> None:
        """The replica has closed a connection that was idle."""
        ...

    def ended(self, relay: "Relay", status: int, replica_id: str | None) -> None:
        """Count it."""
        ...

    def forget(self, relay: "Relay") -> None:
        """It goes the long way, which counts it."""
        ...


class _NobodyWaits:
    """In the place of uvicorn's event for who waits for more of the body: here nobody does."""

    def set(self) -> None:
        """Do nothing."""


class Relay:
    """One request; see the module.

    uvicorn's protocol looks at its current request: hence `more_body`, `keep_alive`, `disconnected`, `message_event`,
    `response_started` and `response_complete`, which are what they are in its own `RequestResponseCycle`.
    """

    __slots__ = (
        "_backend", "_client", "_connection", "_is_chunked", "_is_paused", "_pieces", "_tries", "_way", "asked",
        "began", "body", "deadline", "disconnected", "headers", "keep_alive", "message_event", "more_body",
        "passed", "request_id", "response_complete", "response_started", "seen_at", "service", "target",
        "timeout_s", "url",
    )  # fmt: skip

    def __init__(
        self,
        way: Way,
        client: Client,
        asked: Asked,
        service: RoutedService,
        head: tuple[bytes, list[Header]],
        target: bytes,
        passed: dict[bytes, bytes],
        timeout_s: float,
        now: float,
    ) -> None:
        """`head` is the target and the headers that came, `target` and `passed` what a replica gets of them."""
        self._way, self._client, self.asked, self.service = way, client, asked, service
        (self.url, self.headers), self.target = head, target
        self.passed, self.request_id = passed, passed[b"x-request-id"]
        self.timeout_s, self.deadline, self.seen_at = timeout_s, now + timeout_s, now
        self.began = way.tallies.began()
        self._pieces: list[bytes] = []
        self.body = b""
        self._backend: Backend | None = None
        self._connection: ReplicaConnection | None = None
        self._is_chunked = self._is_paused = False
        self._tries = 0
        self.more_body = self.keep_alive = True
        self.disconnected = self.response_started = self.response_complete = False
        self.message_event = _NOBODY

    @property
    def handed_over(self) -> HandedOver:
        """What the long way has left."""
        return HandedOver(self.deadline, self._tries)

    # -- the body comes

    def gather(self, piece: bytes, now: float) -> None:
        """More of the body has come."""
        self._pieces.append(piece)
        self.seen_at = now

    def forward(self) -> None:
        """The body is complete: send it to a replica, or leave it to the long way."""
        self.more_body = False
        self.body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces = []
        backend = self._way.pick(self.service)
        if backend is None:
            self._go_long()
            return
        connection = self._way.take(self.service, backend)
        if connection is None:
            self._go_long()
            return
        backend.outstanding += 1
        self._backend, self._connection = backend, connection
        self._tries += 1
        connection.listen(self._progress)
        length = (b"content-length", b"%d" % len(self.body))
        connection.start(b"POST", self.target, [*backend.own_headers, *self.passed.items(), length], self.body)

    # -- the answer comes

    def _progress(self) -> None:
        connection, backend = self._connection, self._backend
        if connection is None or backend is None:
            return
        head = b""
        if not self.response_started:
            head = self._begin(connection, backend)
            if not head:
                return
        data = connection.take()
        if self._is_chunked and data:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        data = head + data  # mostly all of the answer
        if connection.is_complete:
            self._finish(connection, backend, data)
            return
        if data:
            self._client.write(data)
        if connection.failure is not None:
            self._break_off(backend)

    def _begin(self, connection: ReplicaConnection, backend: Backend) -> bytes:
        """The answer's head; nothing while it has not come, or where it will not."""
        status = connection.status
        if status and status != UNAUTHENTICATED:
            self.response_started = True
            backend.record.answered(status)
            return self._head(connection, backend, status)
        if not status and connection.failure is None:
            return b""
        self._let_go()
        if status:  # who listens there now is another one, which has refused our token and done nothing
            self._tries = 0
            self._way.refused(backend)
            self._go_long()
        elif connection.is_answered:
            backend.record.failed()
            self.refuse(failed(self.service.name, connection.failure), backend)
        else:  # the connection went stale while it was idle: the long way tries a new one
            self._way.gone_stale(backend)
            self._go_long()
        return b""

    def _head(self, connection: ReplicaConnection, backend: Backend, status: int) -> bytes:
        lines = [STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status, self._client.common_head()]
        is_framed = status in WITHOUT_BODY
        for name, value in connection.headers:
            if name not in NOT_PASSED_BACK:
                lines += (name, b": ", value, b"\r\n")
                is_framed = is_framed or name == b"content-length"
        lines += (b"portside-replica: ", backend.id.encode(), b"\r\nx-request-id: ", self.request_id, b"\r\n")
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        if not is_framed:
            self._is_chunked = True
            lines.append(b"transfer-encoding: chunked\r\n")
        lines.append(b"\r\n")
        return b"".join(lines)

    def _finish(self, connection: ReplicaConnection, backend: Backend, data: bytes) -> None:
        if self._is_chunked:
            data += b"0\r\n\r\n"
        if data:
            self._client.write(data)
        backend.refusals = 0
        status = connection.status
        self._let_go(is_whole=True)
        self._end(status, backend)
        self._client.finished(self)

    def _break_off(self, backend: Backend) -> None:
        backend.record.failed()
        self._let_go()
        self._end(BadGateway.status, backend)
        self._client.cut()

    # -- it ends in another way

    def expire(self, now: float, body_idle_s: float) -> None:
        """Give up what took too long."""
        backend = self._backend
        if self.more_body:
            if now - self.seen_at > body_idle_s or now > self.deadline:
                waited = min(body_idle_s, self.timeout_s)
                self.refuse(BodyStalled(f"no more of the body came within {waited:g} s; send the request again"), None)
        elif now > self.deadline and backend is not None:
            self._let_go()
            if self.response_started:  # perhaps it is the client who does not take it
                self._end(GatewayTimeout.status, backend)
                self._client.cut()
            else:
                backend.record.timed_out(now - self.seen_at)
                detail = f"service '{self.service.name}' did not answer within {self.timeout_s:g} s"
                self.refuse(GatewayTimeout(detail), backend)

    def leave(self) -> None:
        """The client has gone: free the replica."""
        if not self.response_complete:
            backend = self._backend
            self._let_go()
            self._end(LEFT, backend)

    def give_up(self, error: PlatformError) -> None:
        """The client is told of an error by others."""
        self._let_go()
        self._end(error.status, None)

    def pause(self, paused: bool) -> None:
        """The client takes no more for now, or takes again."""
        if self._connection is not None:
            self._is_paused = paused
            self._connection.pause(paused)

    def refuse(self, error: PlatformError, backend: Backend | None = None) -> None:
        """Answer an error."""
        self._let_go()
        self._end(status_of(error, is_terse=self.asked.is_terse), backend)
        self._client.refuse(self, error)

    def _go_long(self) -> None:
        self._way.forget(self)
        self._client.go_long(self)

    def _end(self, status: int, backend: Backend | None) -> None:
        self.response_complete = True
        self.body, self._pieces = b"", []  # a connection that rests keeps its last request
        self._way.ended(self, status, None if backend is None else backend.id)

    def _let_go(self, *, is_whole: bool = False) -> None:
        """Give the connection back, or close it after anything but a whole answer."""
        connection, backend = self._connection, self._backend
        self._connection = self._backend = None
        if connection is not None and backend is not None:
            backend.outstanding -= 1
            connection.listen(None)
            if self._is_paused:  # by the last piece, which filled the client's buffer
                connection.pause(False)
            self._way.give(self.service, backend, connection, is_whole=is_whole)


_NOBODY: Final = _NobodyWaits()
