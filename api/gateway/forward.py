"""Forwarding one prediction request to a replica: pick, send, stream back; one retry before the first byte."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from starlette.types import Message, Receive, Send

from api.gateway.connection import ConnectionBroken, ConnectionPool, Header, ReplicaConnection
from api.gateway.holding import Holding
from api.gateway.table import Backend, Route
from core.errors import BodyStalled, PlatformError, TooLarge, Unavailable

# What a replica needs to know of a request; everything else (cookies, tokens, hop-by-hop) stays here.
PASSED_ON = frozenset(
    {b"content-type", b"accept", b"content-encoding", b"accept-encoding", b"inference-header-content-length",
     b"portside-timeout", b"x-request-id", b"traceparent", b"tracestate"}
)  # fmt: skip
# Of one connection only, and what the server in front writes itself.
HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"te", b"trailer", b"server", b"date"}
)
UNAUTHENTICATED = 401
WATCHED_AFTER_S = 0.5
BODY_IDLE_S = 4.5  # for the next piece of the body
MOST_STALE = 3
SMALL_BYTES = 1024 * 1024  # up to here a body is held, so that a stale connection can be tried again


class GatewayTimeout(Unavailable):
    """The replica did not answer before the deadline."""

    status, code, title = 504, "prediction_timeout", "The prediction took too long"


class BadGateway(PlatformError):
    """The replica broke off in the middle of its answer, or before it could be tried again."""

    status, code, title = 502, "replica_failed", "The replica failed"


class WrongReplica(ConnectionBroken):
    """Who listens at the address now is another one, which has refused our token and done nothing."""


class ClientGone(Exception):
    """The client closed its connection before its body was complete, or before there was an answer."""


@dataclass(frozen=True, slots=True)
class HandedOver:
    """What the short way has used up of a request: its deadline by the loop's clock, and how often it was sent."""

    deadline: float
    tries: int


class Exchange:
    """One request on its way to a service and back."""

    def __init__(
        self,
        holding: Holding,
        pool: ConnectionPool,
        find: Callable[[], Route],
        receive: Receive,
        send: Send,
        max_bytes: int,
    ) -> None:
        """`find` gives the route as it is then, and raises where there is none any more."""
        self._holding, self._table, self._pool, self._find = holding, holding.table, pool, find
        self._service = find().service
        self._name = self._service.name
        self._receive, self._send, self._max_bytes = receive, send, max_bytes
        self._received_bytes = 0
        self._has_body = self._client_gone = False
        self._asked: Backend | None = None  # who has the request now
        self._asked_at = 0.0  # by the loop's clock
        self.answer_started = False
        self.replica_id: str | None = None  # who has the request, or had it last

    async def run(
        self,
        method: bytes,
        target: bytes,
        headers: Sequence[Header],
        timeout_s: float,
        *,
        takes_turn: bool,
        handed_over: HandedOver | None = None,
    ) -> None:
        """Do all of it; what asks about the model and not for its answer takes no turn: probes must not fail by load.

        Raises a `PlatformError` while nothing was answered yet, `ClientGone` or `ConnectionBroken`.
        """
        loop = asyncio.get_running_loop()
        handed_over = handed_over or HandedOver(loop.time() + timeout_s, 0)
        try:
            async with asyncio.timeout_at(handed_over.deadline):
                body, more = await self._first_body()
                turn = self._holding.turns.turn(self._service.id, self._name) if takes_turn else nullcontext()
                async with turn:
                    await self._forward(method, target, headers, body, more, handed_over.tries)
        except TimeoutError as error:
            if not self._has_body:
                raise BodyStalled(f"the body did not come within {timeout_s:g} s; send it faster") from error
            if self._asked is not None and not self.answer_started:
                self._asked.record.timed_out(loop.time() - self._asked_at)
            raise GatewayTimeout(f"service '{self._name}' did not answer within {timeout_s:g} s") from error

    async def _first_body(self) -> tuple[bytes, bool]:
        """The body up to `SMALL_BYTES`, and whether there is more of it."""
        data, more = await self._next_body()
        while more and len(data) < SMALL_BYTES:
            piece, more = await self._next_body()
            data += piece
        return data, more

    async def _next_body(self) -> tuple[bytes, bool]:
        try:
            async with asyncio.timeout(BODY_IDLE_S):
                message: Message = await self._receive()
        except TimeoutError as error:
            detail = f"no more of the body came within {BODY_IDLE_S:g} s; send the request again"
            raise BodyStalled(detail) from error
        if message["type"] == "http.disconnect":
            raise ClientGone
        data: bytes = message.get("body", b"")
        self._received_bytes += len(data)
        if self._received_bytes > self._max_bytes:
            raise TooLarge(f"a prediction body may have {self._max_bytes} bytes", limit_bytes=self._max_bytes)
        self._has_body = not message.get("more_body", False)
        return data, not self._has_body

    async def _forward(
        self, method: bytes, target: bytes, headers: Sequence[Header], body: bytes, more: bool, stale: int
    ) -> None:
        give_up_at = self._holding.until()
        while True:
            backend = await self._holding.pick(self._find, give_up_at)
            backend.outstanding += 1
            connection, used_before = None, False
            try:
                connection, used_before = await self._pool.take(backend.address)
                self.replica_id, self._asked = backend.id, backend
                self._asked_at = asyncio.get_running_loop().time()
                await self._exchange(connection, backend, method, target, headers, body, more)
                self._asked, backend.refusals = None, 0
                return
            except WrongReplica as error:
                self.replica_id = self._asked = None
                self._table.refused(backend)
                if more:
                    raise failed(self._name, error) from error
            except ConnectionBroken as error:
                self._asked = None
                if connection is None:  # nothing was sent: it may wait for the next replica
                    self._table.refused(backend)
                    continue
                if not used_before or error.answered:
                    backend.record.failed()
                if used_before and not error.answered:
                    self._pool.forget_address(backend.address)  # idle connections went stale: try a new one
                elif not error.answered:
                    self._table.drop(backend)
                stale += 1
                # A new connection took the request and broke: perhaps the request is what ends replicas.
                if not used_before or more or error.answered or stale == MOST_STALE:
                    raise failed(self._name, error) from error
            finally:
                backend.outstanding -= 1

    async def _exchange(
        self,
        connection: ReplicaConnection,
        backend: Backend,
        method: bytes,
        target: bytes,
        headers: Sequence[Header],
        body: bytes,
        more: bool,
    ) -> None:
        whole = False
        framing = (b"transfer-encoding", b"chunked") if more else (b"content-length", b"%d" % len(body))
        try:
            own = backend.own_headers
            connection.start(method, target, [*own, *headers, framing], _chunk(body) if more else body)
            if more:
                await self._stream_body(connection)
            status = await self._head(connection)
            if status == UNAUTHENTICATED:
                raise WrongReplica(f"replica {backend.id} is no longer at {backend.address}", answered=False)
            await self._answer(connection, status, backend)
            whole = True
        finally:
            if whole:
                self._pool.give(backend.address, connection)
            else:
                connection.close()

    async def _head(self, connection: ReplicaConnection) -> int:
        """The answer's status. Raises `ClientGone` when nobody waits for it any more, and `ConnectionBroken`."""
        loop, watching = asyncio.get_running_loop(), list[asyncio.Task[None]]()
        # Most answers come at once: only for the others it is worth a task to look at the client meanwhile.
        timer = loop.call_later(WATCHED_AFTER_S, lambda: watching.append(loop.create_task(self._watch(connection))))
        try:
            return await connection.head()
        except ConnectionBroken as error:
            if self._client_gone:
                raise ClientGone from error
            raise
        finally:
            timer.cancel()
            for task in watching:
                task.cancel()

    async def _watch(self, connection: ReplicaConnection) -> None:
        """Let go of the replica once the client has gone."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._client_gone = True
        connection.close()

    async def _stream_body(self, connection: ReplicaConnection) -> None:
        more = True
        while more:
            data, more = await self._next_body()
            if data:
                await connection.write(_chunk(data))
        await connection.write(b"0\r\n\r\n")

    async def _answer(self, connection: ReplicaConnection, status: int, backend: Backend) -> None:
        backend.record.answered(status)
        kept = [header for header in connection.headers if header[0] not in HOP_BY_HOP]
        data, more = await connection.next_chunk()
        self.answer_started = True
        headers = [*kept, (b"portside-replica", backend.id.encode())]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": data, "more_body": more})
        while more:
            data, more = await connection.next_chunk()
            await self._send({"type": "http.response.body", "body": data, "more_body": more})


def failed(service: str, why: object) -> BadGateway:
    """What a client is told whose request a replica has broken off."""
    return BadGateway(f"a replica of service '{service}' failed during the request ({why}); try again")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def passed_on(headers: Sequence[Header]) -> list[Header]:
    """The request headers that a replica gets."""
    return [header for header in headers if header[0] in PASSED_ON]
