"""The platform's gRPC port: one address for all services, whose names are the protocol's model names.

Messages pass unread but for the name of their model; who asks is known by the same tokens as over HTTP.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Final, NoReturn

import grpc

from api.gateway.grpc_answers import LIVE, PlatformAnswers
from api.gateway.grpc_forward import Forwarding
from api.gateway.grpc_status import Code, Refused, refusal
from api.gateway.protobuf import Malformed, field, flag, texts
from api.gateway.split import Gateway
from core.errors import PlatformError, Unauthenticated

SERVICE: Final = "inference.GRPCInferenceService"
HEALTH: Final = "grpc.health.v1.Health"
INFER, STREAM = f"/{SERVICE}/ModelInfer", f"/{SERVICE}/ModelStreamInfer"
STATISTICS: Final = f"/{SERVICE}/ModelStatistics"
CHECK, WATCH = f"/{HEALTH}/Check", f"/{HEALTH}/Watch"
REFLECTIONS: Final = tuple(
    f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo" for version in ("v1", "v1alpha")
)
OF_A_MODEL: Final = frozenset({"ModelInfer", "ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics"})
OF_THE_SERVER: Final = frozenset({"ServerLive", "ServerReady"})
SERVING, NOT_SERVING, UNKNOWN = (flag(1, number) for number in (1, 2, 3))
# What may be asked without a token, and what has more messages than one.
OPEN: Final = frozenset({f"/{SERVICE}/ServerLive", f"/{SERVICE}/ServerReady", CHECK, WATCH})
TALKS: Final = frozenset({STREAM, WATCH, *REFLECTIONS})
MOST_CALLS, MOST_OF_A_CONNECTION, MOST_WATCHING = 2048, 512, 256  # at once; a client lets its further calls wait
LOOK_S: Final = 1.0  # health is told at each change of the routing table, and looked at so often

Context = grpc.aio.ServicerContext[bytes, bytes]


class GrpcGateway:
    """Serves one gateway over gRPC."""

    def __init__(self, gateway: Gateway, *, admits_tokenless: bool, is_leaving: Callable[[], bool]) -> None:
        """`admits_tokenless`: the port is a loopback one; HTTP's own rule comes on top."""
        self._gateway, self._admits_tokenless, self._is_leaving = gateway, admits_tokenless, is_leaving
        self._answers = PlatformAnswers(gateway.table, gateway.version)
        self._forwarding = Forwarding(gateway)
        self._stopping = asyncio.Event()
        self._watching = 0
        named = {*OF_A_MODEL, *OF_THE_SERVER, *self._answers.methods}
        self.methods = frozenset({CHECK, *(f"/{SERVICE}/{method}" for method in named)})  # of one message each
        options = [
            ("grpc.max_receive_message_length", gateway.max_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_concurrent_streams", MOST_OF_A_CONNECTION),
            ("grpc.so_reuseport", 0),  # two platforms on one port would share its calls without anybody noticing
        ]
        self._server = grpc.aio.server(handlers=[_Handlers(self)], options=options, maximum_concurrent_rpcs=MOST_CALLS)

    async def start(self, host: str, port: int) -> int:
        """Listen; answers the port. Raises `OSError`."""
        bare = host.strip("[]")
        shown = f"[{bare}]" if ":" in bare else bare
        try:
            found = self._server.add_insecure_port(f"{shown}:{port}")
        except RuntimeError as error:
            raise OSError(f"{shown}:{port} cannot be listened on") from error
        await self._server.start()
        return found

    async def stop(self, grace_s: float) -> None:
        """Take no further call, end the streams after their answers, and give all others this long."""
        self._stopping.set()
        self._gateway.table.wake()  # for those who watch the health
        await self._server.stop(grace_s)

    async def unary(self, path: str, message: bytes, context: Context) -> bytes:
        """Answer one message with one."""
        try:
            return await self._answer(path, message, _metadata(context), context.time_remaining())
        except Refused as error:
            await _abort(context, error)

    async def infer_stream(self, messages: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        """Answer each infer request in its turn; what is wrong with one ends the stream for none."""
        metadata = _metadata(context)
        async for message in self._until_stopping(messages, context):
            try:
                told = field(2, await self._answer(INFER, message, metadata, context.time_remaining()))
            except Refused as error:
                if error.code is Code.UNAUTHENTICATED:
                    await _abort(context, error)
                told = field(1, error.text) + _whose(message)
            yield told

    async def reflect(self, path: str, messages: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        """Answer each question of reflection, which a model server does."""
        async for message in self._until_stopping(messages, context):
            yield await self.unary(path, message, context)

    async def watch(self, message: bytes, context: Context) -> AsyncIterator[bytes]:
        """Tell the health now and whenever it changes."""
        if self._watching >= MOST_WATCHING:
            await context.abort(Code.RESOURCE_EXHAUSTED, f"{MOST_WATCHING} calls watch already; ask with Check")
        self._watching += 1
        try:
            async for told in self._told(message, _metadata(context)):
                yield told
        except Refused as error:
            await _abort(context, error)
        finally:
            self._watching -= 1

    async def _told(self, message: bytes, metadata: Mapping[str, str]) -> AsyncIterator[bytes]:
        before = b""
        while True:
            told = self._health(message, metadata) or UNKNOWN
            if told != before:
                before = told
                yield told
            if self._stopping.is_set():
                return
            await self._gateway.table.changed(LOOK_S)

    def tenant_of(self, metadata: Mapping[str, str]) -> str:
        """Whose call this is. No browser speaks this protocol to a plain port, so that its `Host` need not be looked
        at. Raises `Unauthenticated`, `Forbidden`."""
        if not self._admits_tokenless and "authorization" not in metadata:
            raise Unauthenticated("this address needs a token: send the metadata 'authorization: Bearer pst_…'")
        headers = [(name.encode(), value.encode("latin-1", "replace")) for name, value in metadata.items()]
        return self._gateway.tenant_of({"headers": [*headers, (b"host", b"localhost")]})

    async def _answer(self, path: str, message: bytes, metadata: Mapping[str, str], remaining_s: float | None) -> bytes:
        method = path.rpartition("/")[2]
        try:
            if path == CHECK:
                return self._checked(message, metadata)
            if method == "ServerLive":
                return LIVE
            if method == "ServerReady":
                return flag(1, self._is_serving)
            tenant_id = self.tenant_of(metadata)
            if self._answers.knows(method):
                return self._answers.answer(method, tenant_id, message)
            return await self._asked(tenant_id, path, message, metadata, remaining_s)
        except PlatformError as error:
            raise refusal(error) from error
        except Malformed as error:
            raise Refused(Code.INVALID_ARGUMENT, f"the message of {method} cannot be read: {error}") from error

    async def _asked(
        self, tenant_id: str, path: str, message: bytes, metadata: Mapping[str, str], remaining_s: float | None
    ) -> bytes:
        async def ask(service: str, question: bytes) -> bytes:
            return await self._forwarding.ask(
                tenant_id,
                service,
                path,
                question,
                remaining_s=remaining_s,
                metadata=metadata,
                is_prediction=path == INFER,
            )

        if path in REFLECTIONS:
            return await ask(self._answers.any_ready(tenant_id), message)
        name = texts(message, (1,))[1]
        if not name and path == STATISTICS:
            return await self._answers.statistics(tenant_id, ask)
        return await ask(name, message)

    @property
    def _is_serving(self) -> bool:
        return self._answers.is_ready and not self._is_leaving() and not self._stopping.is_set()

    def _checked(self, message: bytes, metadata: Mapping[str, str]) -> bytes:
        told = self._health(message, metadata)
        if told is None:
            raise Refused(Code.NOT_FOUND, "no service of yours is called so")
        return told

    def _health(self, message: bytes, metadata: Mapping[str, str]) -> bytes | None:
        """The health of the platform, which everybody may ask, or of a service. Raises `Refused`."""
        try:
            name = texts(message, (1,))[1]
            found = None if name in ("", SERVICE) else self._answers.is_serving(self.tenant_of(metadata), name)
        except Malformed as error:
            raise Refused(Code.INVALID_ARGUMENT, "the message is no HealthCheckRequest") from error
        except PlatformError as error:
            raise refusal(error) from error
        if found is None and name not in ("", SERVICE):
            return None
        return SERVING if found is not False and self._is_serving else NOT_SERVING

    async def _until_stopping(self, messages: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        """The messages of a stream, until there are no more or the platform stops."""
        stopping = asyncio.create_task(self._stopping.wait())
        coming: asyncio.Task[bytes | None] | None = None
        try:
            while True:
                coming = asyncio.create_task(_next(messages))
                await asyncio.wait({coming, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if not coming.done():
                    await context.abort(Code.UNAVAILABLE, "the platform is stopping; connect again")
                if (message := coming.result()) is None:
                    return
                yield message
        finally:  # who has gone cancels us while we wait for the next
            stopping.cancel()
            if coming is not None:
                coming.cancel()


class _Handlers(grpc.GenericRpcHandler):
    """Finds what answers a method; messages stay bytes."""

    def __init__(self, server: GrpcGateway) -> None:
        self._server = server

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        """See gRPC."""
        path, server = details.method, self._server
        if path not in server.methods and path not in TALKS:
            return None
        if path not in OPEN:
            try:
                server.tenant_of(_texts(details.invocation_metadata))
            except PlatformError as error:
                return _refusing(refusal(error))
        if path == STREAM:
            return grpc.stream_stream_rpc_method_handler(server.infer_stream)
        if path == WATCH:
            return grpc.unary_stream_rpc_method_handler(server.watch)
        if path in REFLECTIONS:

            async def reflect(messages: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
                async for answer in server.reflect(path, messages, context):
                    yield answer

            return grpc.stream_stream_rpc_method_handler(reflect)

        async def unary(message: bytes, context: Context) -> bytes:
            return await server.unary(path, message, context)

        return grpc.unary_unary_rpc_method_handler(unary)


def _refusing(error: Refused) -> "grpc.RpcMethodHandler[bytes, bytes]":
    """Refuses a call and reads nothing of it: else strangers' messages, each as large as a prediction may be, would lie
    in memory before anybody asks who they are."""

    async def refuse(messages: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        await _abort(context, error)
        yield b""

    return grpc.stream_stream_rpc_method_handler(refuse)


async def _next(messages: AsyncIterator[bytes]) -> bytes | None:
    return await anext(messages, None)


async def _abort(context: Context, error: Refused) -> NoReturn:
    await context.abort(error.code, error.text)
    raise error  # abort has raised already, which its type does not say


def _whose(message: bytes) -> bytes:
    """The id of a request that has gone wrong, as an answer that has nothing else."""
    try:
        name = texts(message, (3,))[3]
    except Malformed:
        return b""
    return field(2, field(3, name)) if name else b""


def _metadata(context: Context) -> Mapping[str, str]:
    """Texts only: what ends in `-bin` is nothing of ours."""
    return _texts(context.invocation_metadata())


def _texts(metadata: "Iterable[tuple[str, str | bytes]] | None") -> Mapping[str, str]:
    return {name: value for name, value in metadata or () if isinstance(value, str)}
