"""The gRPC port of a model server, asked by grpcio's own client over loopback."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from serving.application import ModelServer
from serving.grpc_server import GrpcServer
from serving.loading import Loaded
from serving.messages import Request, Response
from serving.problems import Problem
from serving.score import Scorer
from tests.serving.models import IDENTITY, PythonModel, double_scorer, signature_of
from tests.serving.protocols.grpc_messages import infer_request, message, read

SERVICE = "/inference.GRPCInferenceService"
MAX_BYTES = 100_000
Channel = Any  # its stubs know no call without serializers
Start = Callable[..., Awaitable[Channel]]
TIMEOUT_S = 60


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start a server of a scorer (`None`: still loading) and get a channel to it."""
    servers: list[GrpcServer] = []
    channels: list[Channel] = []

    async def started(
        scorer: Scorer | None = None, *, call_s: float = 0.0, token: str | None = None, parts: object = None
    ) -> Channel:
        application = ModelServer(IDENTITY, token, 1)
        if scorer is not None:
            application.serve(scorer, call_s, parts if isinstance(parts, dict) else {})
        servers.append(GrpcServer(application, MAX_BYTES))
        port = await servers[-1].start("127.0.0.1", 0)
        channels.append(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
        return channels[-1]

    yield started
    for channel in channels:
        await channel.close()
    for server in servers:
        await server.stop(0)


@asynccontextmanager
async def listening(server: GrpcServer) -> AsyncIterator[Channel]:
    """A channel to a server that the test stops, or a failure."""
    port = await server.start("127.0.0.1", 0)
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
    finally:
        await server.stop(0)


async def call(channel: Channel, path: str, data: bytes, token: str = "") -> bytes:
    metadata = [("authorization", f"Bearer {token}")] if token else []
    return bytes(await channel.unary_unary(path)(data, timeout=TIMEOUT_S, metadata=metadata))


async def refusal(channel: Channel, path: str, data: bytes, token: str = "") -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(channel, path, data, token)
    code: grpc.StatusCode = caught.value.code()
    return code


async def stream(channel: Channel, path: str, messages: Iterable[bytes]) -> list[bytes]:
    return [answer async for answer in channel.stream_stream(path)(iter(messages), timeout=TIMEOUT_S)]


def outputs(data: bytes) -> list[float]:
    found: list[float] = np.frombuffer(read("ModelInferResponse", data).raw_output_contents[0], np.float32).tolist()
    return found


@pytest.mark.parametrize("call_s", [0.0, 1.0])
async def test_a_request_is_answered_on_the_loop_and_in_the_pool(start: Start, call_s: float) -> None:
    channel = await start(double_scorer(), call_s=call_s)
    answers = await asyncio.gather(
        *(call(channel, f"{SERVICE}/ModelInfer", infer_request([n, n]).SerializeToString()) for n in range(8))
    )
    assert [outputs(answer) for answer in answers] == [[2.0 * n, 2.0 * n] for n in range(8)]


async def test_a_slow_model_holds_no_health_check(start: Start) -> None:
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    def wait(columns: object) -> dict[str, object]:
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(TIMEOUT_S)
        return {"y": np.zeros((1, 2), np.float32)}

    like = double_scorer()
    channel = await start(Scorer(like.signature, PythonModel(wait), IDENTITY), call_s=1.0)  # type: ignore[arg-type]  # a column is an object
    asked = asyncio.create_task(call(channel, f"{SERVICE}/ModelInfer", infer_request([1, 2]).SerializeToString()))
    assert await call(channel, f"{SERVICE}/ServerLive", b"") == b"\x08\x01"
    assert not asked.done()
    release.set()
    assert outputs(await asked) == [0, 0]


async def test_each_mistake_has_its_code(start: Start) -> None:
    channel = await start(double_scorer())
    infer = f"{SERVICE}/ModelInfer"
    assert await refusal(channel, infer, b"\xff") is grpc.StatusCode.INVALID_ARGUMENT
    assert await refusal(channel, infer, infer_request(model="rose").SerializeToString()) is grpc.StatusCode.NOT_FOUND
    large = infer_request([0.0] * 30_000).SerializeToString()
    assert await refusal(channel, infer, large) is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await refusal(channel, f"{SERVICE}/Nothing", b"") is grpc.StatusCode.UNIMPLEMENTED
    assert await refusal(channel, "/other.Service/Method", b"") is grpc.StatusCode.UNIMPLEMENTED


async def test_a_token_is_asked_for_but_for_health(start: Start) -> None:
    channel = await start(double_scorer(), token="secret")
    data = infer_request().SerializeToString()
    assert await refusal(channel, f"{SERVICE}/ModelInfer", data) is grpc.StatusCode.UNAUTHENTICATED
    assert await refusal(channel, f"{SERVICE}/ModelInfer", data, "guess") is grpc.StatusCode.UNAUTHENTICATED
    assert outputs(await call(channel, f"{SERVICE}/ModelInfer", data, "secret")) == [2, 4, 6, 8]
    assert await call(channel, "/grpc.health.v1.Health/Check", b"") == b"\x08\x01"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stream(channel, f"{SERVICE}/ModelStreamInfer", [data])
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_stream_is_answered_in_order_and_goes_on_after_an_error(start: Start) -> None:
    channel = await start(double_scorer())
    asked = [infer_request([n, n], id=str(n)) for n in range(5)]
    asked[2].inputs[0].name = "q"
    messages = [request.SerializeToString() for request in asked] + [b"\xff"]
    told = [
        read("ModelStreamInferResponse", data)
        for data in await stream(channel, f"{SERVICE}/ModelStreamInfer", messages)
    ]
    assert [each.infer_response.id for each in told] == ["0", "1", "2", "3", "4", ""]
    assert [bool(each.error_message) for each in told] == [False, False, True, False, False, True]
    assert "unknown input 'q'" in told[2].error_message


async def test_a_part_is_asked_by_its_version(start: Start) -> None:
    signature = signature_of(double_scorer().signature.inputs, double_scorer().signature.outputs)
    triple = Scorer(signature, PythonModel(lambda columns: {"y": np.asarray(columns["x"]) * 3}), IDENTITY)
    channel = await start(double_scorer(), parts={"triple": Loaded(triple, 1.0)})
    for version, expected in (("", [2, 4]), ("3", [2, 4]), ("triple", [3, 6])):
        request = infer_request([1, 2], model_version=version)
        answer = await call(channel, f"{SERVICE}/ModelInfer", request.SerializeToString())
        assert (outputs(answer), read("ModelInferResponse", answer).model_version) == (expected, version or "3")
    (first, second) = read("RepositoryIndexResponse", await call(channel, f"{SERVICE}/RepositoryIndex", b"")).models
    assert (first.version, second.version) == ("3", "triple")


async def test_health_is_told_by_name_and_watched_until_the_end() -> None:
    application = ModelServer(IDENTITY, None, 1)
    server = GrpcServer(application, MAX_BYTES)
    async with listening(server) as channel:
        watched = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=TIMEOUT_S)
        statuses = [health_pb2.HealthCheckResponse.FromString(await watched.read()).status]
        application.serve(double_scorer(), 0.0)
        statuses.append(health_pb2.HealthCheckResponse.FromString(await watched.read()).status)
        named = health_pb2.HealthCheckRequest(service="iris").SerializeToString()
        assert await call(channel, "/grpc.health.v1.Health/Check", named) == b"\x08\x01"
        other = health_pb2.HealthCheckRequest(service="rose").SerializeToString()
        assert await refusal(channel, "/grpc.health.v1.Health/Check", other) is grpc.StatusCode.NOT_FOUND
        unknown = channel.unary_stream("/grpc.health.v1.Health/Watch")(other, timeout=TIMEOUT_S)
        assert await unknown.read() == b"\x08\x03"
        application.stop()
        stopping = asyncio.create_task(server.stop(TIMEOUT_S))
        statuses.append(health_pb2.HealthCheckResponse.FromString(await watched.read()).status)
        assert await watched.read() is grpc.aio.EOF
        await stopping
    assert statuses == [2, 1, 2]


async def test_who_streams_is_told_that_the_server_stops() -> None:
    server = GrpcServer(ModelServer(IDENTITY, None, 1), MAX_BYTES)
    async with listening(server) as channel:
        talk = channel.stream_stream(f"{SERVICE}/ModelStreamInfer")(timeout=TIMEOUT_S)
        await talk.write(b"\xff")
        assert read("ModelStreamInferResponse", await talk.read()).error_message
        async with asyncio.timeout(TIMEOUT_S / 2):  # not the grace: nothing is running
            await server.stop(TIMEOUT_S)
        assert await talk.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_tells_services_and_their_files(start: Start, version: str) -> None:
    channel = await start(double_scorer())
    asked = [
        {"list_services": ""},
        {"file_containing_symbol": "inference.GRPCInferenceService"},
        {"file_containing_symbol": "grpc.health.v1.Health"},
        {"file_by_filename": "nothing.proto"},
    ]
    messages = [reflection_pb2.ServerReflectionRequest(**each).SerializeToString() for each in asked]
    path = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
    told = [reflection_pb2.ServerReflectionResponse.FromString(data) for data in await stream(channel, path, messages)]
    assert "inference.GRPCInferenceService" in [each.name for each in told[0].list_services_response.service]
    assert [len(each.file_descriptor_response.file_descriptor_proto) for each in told] == [0, 1, 1, 0]
    assert told[3].error_response.error_code == 5


class Noting:
    """Answers as a model server does, and remembers until when each request is of use."""

    def __init__(self, server: ModelServer) -> None:
        self._server = server
        self.deadlines: list[float | None] = []

    def answer(self, request: Request) -> "Response | asyncio.Future[Response]":
        self.deadlines.append(request.deadline)
        return self._server.answer(request)

    def refusal(self, problem: Problem) -> Response:
        return self._server.refusal(problem)


async def test_a_call_tells_the_model_until_when_its_answer_is_of_use() -> None:
    model = ModelServer(IDENTITY, None, 1)
    model.serve(double_scorer(), 0.0)
    application = Noting(model)
    data, begun = infer_request().SerializeToString(), time.monotonic()
    async with listening(GrpcServer(application, MAX_BYTES)) as channel:
        await call(channel, f"{SERVICE}/ModelInfer", data)
        await stream(channel, f"{SERVICE}/ModelStreamInfer", [data])
        await channel.unary_unary(f"{SERVICE}/ModelInfer")(data)
    ended = time.monotonic()
    *limited, unlimited = application.deadlines
    assert unlimited is None
    for deadline in limited:
        assert deadline is not None
        assert begun - 1 <= deadline - TIMEOUT_S <= ended + 1  # of the timeout a client sends a few digits


async def test_a_client_that_has_gone_leaves_the_server_answering(start: Start) -> None:
    channel = await start(double_scorer(), call_s=1.0)
    asked = channel.unary_unary(f"{SERVICE}/ModelInfer")(infer_request().SerializeToString())
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert outputs(await call(channel, f"{SERVICE}/ModelInfer", infer_request().SerializeToString())) == [2, 4, 6, 8]
    unknown = message("ModelReadyRequest", name="rose")
    assert await refusal(channel, f"{SERVICE}/ModelReady", unknown) is grpc.StatusCode.NOT_FOUND
