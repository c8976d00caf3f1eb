"""The gRPC port of a server: hands each message to the same application as HTTP/1.1 does, and tells its answer.

What is fast runs on the loop and what is slow in the pool, as there; a stream is one request after the other.
"""

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Final

from serving.grpc_call import Asked
from serving.grpc_head import NO_HEADERS, CallRefused, coding_of, is_grpc, metadata_of, no_call, refusal, timeout_of
from serving.grpc_methods import INFER
from serving.grpc_refusal import Refused
from serving.grpc_talk import ManyMessages, Talk
from serving.grpc_unary import NOT_ONE, OneMessage
from serving.http2.connection import Connection
from serving.http2.fields import RequestHead
from serving.http2.settings import LIST_BYTES
from serving.http2.stream import Carrier, Opening
from serving.messages import Application, Request, Response
from serving.protocols import grpc_status
from serving.protocols.grpc_standard import HEALTH, REFLECTION
from serving.protocols.grpc_status import Code, status_of
from serving.protocols.grpc_stream import answered, failed
from serving.protocols.oip_proto import SERVICE
from serving.room import Room

STREAM: Final = f"/{SERVICE}/ModelStreamInfer".encode()
WATCH, CHECK = f"/{HEALTH}/Watch".encode(), f"/{HEALTH}/Check".encode()
REFLECTIONS: Final = frozenset(f"/{service}/ServerReflectionInfo".encode() for service in REFLECTION)
WORK: Final = INFER.encode()
SERVICE_UNKNOWN: Final = b"\x08\x03"  # HealthCheckResponse{status: 3}, which ends no watching
LOOK_S = 0.25  # how often a watched health is looked at
MOST_WATCHING: Final = 100  # calls of one connection, which need no token and are work as long as they last
REQUEST_S, IDLE_S, SWEEP_S = 30.0, 600.0, 5.0
SHORT_GRACE_S = 1.0  # for connections to close once their calls were cut short


class GrpcService:
    """What is done for each call."""

    def __init__(self, application: Application, max_message_bytes: int, *, reads_metadata: bool) -> None:
        self.application, self.max_message_bytes, self._reads_metadata = application, max_message_bytes, reads_metadata
        self.stopping = asyncio.Event()
        self._watching = Counter[Carrier]()

    def opening(self, head: RequestHead) -> Opening:
        """What a request with this head asks for."""
        if head.is_oversized:
            return Refused(refusal(Code.RESOURCE_EXHAUSTED, f"the metadata has more than {LIST_BYTES} bytes"))
        if not is_grpc(head):
            text = "this port speaks gRPC: the content-type must be application/grpc"
            return Refused(*no_call(415, text), is_at_once=False)
        if head.method != b"POST":
            return Refused(*no_call(405, "a call of gRPC is a POST"), is_at_once=False)
        # A query or an escape is part of no method's name, and the application would read on as if it were not there.
        if not grpc_status.is_grpc(head.path) or b"?" in head.path or b"%" in head.path:
            return Refused(refusal(Code.UNIMPLEMENTED, "there is no such method here"))
        try:
            timeout_s, coding = timeout_of(head), coding_of(head)
        except CallRefused as error:
            return Refused(refusal(error.code, error.text))
        path, known = head.path, (self.application, self.max_message_bytes)
        headers = metadata_of(head) if self._reads_metadata else NO_HEADERS
        if path == STREAM:
            asked = Asked(*known, WORK, headers, timeout_s, coding, is_work=True)
            return ManyMessages(asked, self._infer_stream)
        if path in REFLECTIONS:
            return ManyMessages(Asked(*known, path, headers, timeout_s, coding), self._reflect)
        if path == WATCH:
            return ManyMessages(Asked(*known, CHECK, NO_HEADERS, timeout_s, coding), self._watch)
        return OneMessage(*known, path, headers, timeout_s, coding, is_work=path == WORK)

    async def _infer_stream(self, talk: Talk) -> None:
        """Answer each infer request in its turn; what is wrong with one ends the stream for none."""
        while (request := await talk.next()) is not None:
            response = await self._asked(request)
            code, text = status_of(response)
            if code is Code.UNAUTHENTICATED:
                raise CallRefused(code, text)
            answer = answered(response.body) if code is Code.OK else failed(text, request.body)
            del request, response  # and give back their room, before the next one waits for some
            await talk.send(answer)

    async def _reflect(self, talk: Talk) -> None:
        """Answer each question of reflection."""
        while (request := await talk.next()) is not None:
            response = await self._asked(request)
            if response.status != 200:
                raise CallRefused(*status_of(response))
            await talk.send(response.body)

    async def _watch(self, talk: Talk) -> None:
        """Tell the health now and whenever it changes."""
        connection = talk.connection
        if self._watching[connection] >= MOST_WATCHING:
            raise CallRefused(Code.RESOURCE_EXHAUSTED, f"{MOST_WATCHING} calls of this connection watch already")
        self._watching[connection] += 1
        try:
            await self._tell_health(talk)
        finally:
            self._watching[connection] -= 1
            if not self._watching[connection]:
                del self._watching[connection]

    async def _tell_health(self, talk: Talk) -> None:
        request = await talk.next()
        if request is None:
            raise CallRefused(Code.UNIMPLEMENTED, NOT_ONE)
        told = b""
        while True:
            response = await self._asked(request)
            code, text = status_of(response)
            if code not in (Code.OK, Code.NOT_FOUND):
                raise CallRefused(code, text)
            status = response.body if code is Code.OK else SERVICE_UNKNOWN
            if status != told:
                told = status
                await talk.send(status)
            if self.stopping.is_set():
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self.stopping.wait()

    async def _asked(self, request: Request) -> Response:
        answer = self.application.answer(request)
        return answer if isinstance(answer, Response) else await answer


class GrpcServer:
    """Serves one application over gRPC."""

    def __init__(
        self,
        application: Application,
        max_message_bytes: int,
        *,
        reads_metadata: bool = True,
        room: Room | None = None,
    ) -> None:
        """`room` is what large messages share with the bodies of HTTP; `reads_metadata` is for a token or an id."""
        self._service = GrpcService(application, max_message_bytes, reads_metadata=reads_metadata)
        self._room, self._connections = room, set[Connection]()
        self._listener: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; answers the port. Raises `OSError`."""
        loop, bare = asyncio.get_running_loop(), host.strip("[]")
        try:
            # Not SO_REUSEPORT: two servers on one port would share its calls without anybody noticing.
            self._listener = await loop.create_server(self._connected, bare, port, backlog=1024)
        except OSError as error:
            shown = f"[{bare}]" if ":" in bare else bare
            raise OSError(f"gRPC cannot listen on {shown}:{port}; choose another --grpc-port, or 0") from error
        self._sweeper = asyncio.create_task(self._sweep())
        found: int = self._listener.sockets[0].getsockname()[1]
        return found

    async def stop(self, grace_s: float) -> None:
        """Take no further call, end the streams after their answers, and give all others this long."""
        self._service.stopping.set()
        if self._listener is not None:
            self._listener.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in tuple(self._connections):
            connection.drain()
        await self._closed(grace_s)
        for connection in tuple(self._connections):
            connection.abort()
        await self._closed(SHORT_GRACE_S)

    def _connected(self) -> Connection:
        return Connection(self._service, self._connections, self._room)

    async def _closed(self, seconds: float) -> None:
        closing = [connection.closed for connection in self._connections]
        if closing:
            await asyncio.wait(closing, timeout=seconds)

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_S)
            for connection in tuple(self._connections):
                connection.expire(loop.time(), REQUEST_S, IDLE_S)
