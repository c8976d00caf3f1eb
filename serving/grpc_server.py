"""The gRPC port of a server: hands each message to the same application as HTTP/1.1 does, and tells its answer.

What is fast runs on the loop and what is slow in the pool, as there; a stream is one request after the other.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final, cast

import grpc

from serving.connection import Application
from serving.grpc_methods import HEALTH, INFER, REFLECTION
from serving.messages import Request, Response
from serving.protocols.grpc_status import Code, bridged, is_grpc, status_of
from serving.protocols.grpc_stream import StreamAnswers
from serving.protocols.oip_proto import SERVICE, declare_messages

STREAM: Final = f"/{SERVICE}/ModelStreamInfer"
WATCH, CHECK = f"/{HEALTH}/Watch", f"/{HEALTH}/Check"
REFLECTIONS: Final = frozenset(f"/{service}/ServerReflectionInfo" for service in REFLECTION)
STATUSES: Final = {code.value[0]: code for code in grpc.StatusCode}
SERVICE_UNKNOWN: Final = b"\x08\x03"  # HealthCheckResponse{status: 3}, which ends no watching
NO_HEADERS: Final[Mapping[bytes, bytes]] = MappingProxyType({})
LOOK_S = 0.25  # how often a watched health is looked at
LONGEST_TEXT = 2000  # of an error: clients take trailers of 8 KiB together

Context = grpc.aio.ServicerContext[bytes, bytes]


class GrpcServer:
    """Serves one application over gRPC."""

    def __init__(self, application: Application, max_message_bytes: int, *, reads_metadata: bool = True) -> None:
        options = [
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),  # two servers on one port would share its requests without anybody noticing
        ]
        self.application, self._reads_metadata = application, reads_metadata
        self._in_stream = StreamAnswers(declare_messages())
        self._stopping = asyncio.Event()
        self._server = grpc.aio.server(handlers=[_Handlers(self)], options=options)

    async def start(self, host: str, port: int) -> int:
        """Listen; answers the port. Raises `OSError`."""
        shown = f"[{host}]" if ":" in host and not host.startswith("[") else host
        try:
            found = self._server.add_insecure_port(f"{shown}:{port}")
        except RuntimeError as error:
            raise OSError(f"gRPC cannot listen on {shown}:{port}; choose another --grpc-port, or 0") from error
        await self._server.start()
        return found

    async def stop(self, grace_s: float) -> None:
        """Take no further call, end the streams after their answers, and give all others this long."""
        self._stopping.set()
        await self._server.stop(grace_s)

    def headers_of(self, context: Context) -> Mapping[bytes, bytes]:
        """What the application wants to know of a call's metadata: nothing where neither token nor id is of use."""
        if not self._reads_metadata:
            return NO_HEADERS
        return {
            name.encode(): value.encode("utf-8", "replace") if isinstance(value, str) else value
            for name, value in context.invocation_metadata() or ()
        }

    async def infer_stream(self, messages: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        """Answer each infer request in its turn; what is wrong with one ends the stream for none."""
        headers = self.headers_of(context)
        async for message in self._until_stopping(messages, context):
            response = await self._asked(INFER, message, headers, deadline_of(context))
            code, text = status_of(response)
            if code is Code.UNAUTHENTICATED:
                await context.abort(STATUSES[code], text[:LONGEST_TEXT])
            told = self._in_stream
            yield told.answer(response.body) if code is Code.OK else told.error(text, message)

    async def reflect(self, path: str, messages: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        """Answer each question of reflection."""
        async for message in self._until_stopping(messages, context):
            response = await self._asked(path, message, self.headers_of(context))
            if response.status != 200:
                await abort(context, response)
            yield response.body

    async def watch(self, message: bytes, context: Context) -> AsyncIterator[bytes]:
        """Tell the health now and whenever it changes."""
        told = b""
        while True:
            response = await self._asked(CHECK, message, {})
            code, text = status_of(response)
            if code not in (Code.OK, Code.NOT_FOUND):
                await context.abort(STATUSES[code], text)
            status = response.body if code is Code.OK else SERVICE_UNKNOWN
            if status != told:
                told = status
                yield status
            if self._stopping.is_set():
                return
            await self._sleep(LOOK_S)

    async def _asked(
        self, path: str, message: bytes, headers: Mapping[bytes, bytes], deadline: float | None = None
    ) -> Response:
        answer = self.application.answer(bridged(path, message, headers, deadline))
        return answer if isinstance(answer, Response) else await answer

    async def _sleep(self, seconds: float) -> None:
        waiting = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({waiting}, timeout=seconds)
        finally:
            waiting.cancel()

    async def _until_stopping(self, messages: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        """The messages of a stream, until there are no more or the server stops."""
        stopping = asyncio.create_task(self._stopping.wait())
        coming: asyncio.Task[bytes | None] | None = None
        try:
            while True:
                coming = asyncio.create_task(_next(messages))
                await asyncio.wait({coming, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if not coming.done():
                    await context.abort(grpc.StatusCode.UNAVAILABLE, "the server is stopping; connect again")
                if (message := coming.result()) is None:
                    return
                yield message
        finally:  # who has gone cancels us while we wait for the next
            stopping.cancel()
            if coming is not None:
                coming.cancel()


class _Handlers(grpc.GenericRpcHandler):
    """Finds what answers a method; messages stay bytes."""

    def __init__(self, server: GrpcServer) -> None:
        self._server = server
        self._known: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {}

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        """See gRPC."""
        path = details.method
        if (found := self._known.get(path)) is not None:
            return found
        if not is_grpc(path.encode("utf-8", "replace")):
            return None
        made = self._made(path)
        if len(self._known) < 64:  # a stranger may ask for any path
            self._known[path] = made
        return made

    def _made(self, path: str) -> "grpc.RpcMethodHandler[bytes, bytes]":
        server = self._server
        if path == STREAM:
            return grpc.stream_stream_rpc_method_handler(server.infer_stream)
        if path == WATCH:
            return grpc.unary_stream_rpc_method_handler(server.watch)
        if path in REFLECTIONS:

            async def reflect(messages: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
                async for answer in server.reflect(path, messages, context):
                    yield answer

            return grpc.stream_stream_rpc_method_handler(reflect)

        return grpc.unary_unary_rpc_method_handler(self._unary(path))

    def _unary(self, path: str) -> Callable[[bytes, Context], Awaitable[bytes]]:
        """What answers most calls, in one coroutine: each more would be a tenth of the work."""
        answer, headers_of, method = self._server.application.answer, self._server.headers_of, path.encode()

        async def unary(message: bytes, context: Context) -> bytes:
            told = answer(Request(b"POST", method, headers_of(context), message, deadline_of(context)))
            response = told if isinstance(told, Response) else await told
            if response.status != 200:
                await abort(context, response)
            return response.body

        return unary


async def _next(messages: AsyncIterator[bytes]) -> bytes | None:
    return await anext(messages, None)


def deadline_of(context: Context) -> float | None:
    """Until when the answer is of use to the caller, if it said so: nothing is begun for a call that is over."""
    remaining_s = cast("float | None", context.time_remaining())  # its stubs know no call without a deadline
    return None if remaining_s is None else time.monotonic() + remaining_s


async def abort(context: Context, response: Response) -> None:
    """End a call with the status of a response that is no answer."""
    code, text = status_of(response)
    await context.abort(STATUSES[code], text[:LONGEST_TEXT])
