"""What gRPC's own protocol says of a call, asked in frames where a client library would not ask so, else by grpcio."""

import asyncio
import gzip
import threading
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from serving.application import ModelServer
from serving.engines.base import Columns
from serving.grpc_head import refusal
from serving.grpc_server import GrpcServer
from serving.http2.frames import DATA, END_STREAM, HEADERS, PING, SETTINGS, WINDOW_UPDATE, frame, window_update
from serving.http2.hpack import Decoder
from serving.protocols.descriptors import Messages
from serving.protocols.grpc_standard import HEALTH_FILE, REFLECTION_FILE
from serving.protocols.grpc_status import Code
from serving.score import Scorer
from serving.signature import InputField
from tests.serving.http2.wire import (
    DEADLINE_S,
    INFER,
    STREAM_INFER,
    FrameWire,
    called,
    connect,
    data,
    opened,
    prefixed,
)
from tests.serving.models import IDENTITY, PythonModel, double_scorer, echo_scorer
from tests.serving.protocols.grpc_messages import MESSAGES, infer_request, message, raw_tensor, read

MESSAGE = infer_request().SerializeToString()
MOST_BYTES = 20 * 2**20
LARGE = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
Channel = Any  # its stubs know no call without serializers


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """The port of a model that answers what it is asked, of any size."""
    async with served(echo_scorer(InputField("x", "FP32", (-1, -1)))) as found:
        yield found


@asynccontextmanager
async def served(scorer: Scorer, call_s: float = 0.0) -> AsyncIterator[int]:
    application = ModelServer(IDENTITY, None, 1)
    application.serve(scorer, call_s)
    server = GrpcServer(application, MOST_BYTES, room=application.room)
    try:
        yield await server.start("127.0.0.1", 0)
    finally:
        await server.stop(0)
    async with asyncio.timeout(DEADLINE_S):
        while application.room.taken_bytes:  # until the last thread lets go of what it has answered
            await asyncio.sleep(0.001)


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[FrameWire]:
    wire = await connect(port)
    try:
        yield wire
    finally:
        await wire.close()


@pytest.fixture
async def wire(port: int) -> AsyncIterator[FrameWire]:
    async with connected(port) as wire:
        yield wire


@pytest.fixture
async def channel(port: int) -> AsyncIterator[Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", LARGE) as channel:
        yield channel


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content_type": "application/json"}, b"415"),
        ({"content_type": "application/grpc-web"}, b"415"),
        ({"content_type": "application/grpc+json"}, b"415"),
        ({":method": "GET"}, b"405"),
    ],
)
async def test_what_is_no_call_is_told_so_in_http(wire: FrameWire, headers: dict[str, str], status: bytes) -> None:
    wire.send(called(1, MESSAGE, **headers))
    assert (await wire.headers())[b":status"] == status
    assert b"gRPC" in (await wire.next(DATA)).payload
    assert (await wire.next(HEADERS)).flags & END_STREAM


@pytest.mark.parametrize(
    "content_type", ["application/grpc+proto", "application/grpc; charset=utf-8", "Application/gRPC"]
)
async def test_a_call_has_more_than_one_content_type(wire: FrameWire, content_type: str) -> None:
    wire.send(called(1, MESSAGE, content_type=content_type))
    assert (await wire.headers())[b"content-type"] == b"application/grpc"
    assert await wire.status() == (0, "")


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (called(1, MESSAGE, grpc_timeout="soon"), Code.INVALID_ARGUMENT),
        (called(1, MESSAGE, grpc_timeout="1n"), Code.DEADLINE_EXCEEDED),
        (called(1, MESSAGE, grpc_encoding="br"), Code.UNIMPLEMENTED),
        (opened(1) + data(1, prefixed(MESSAGE, mark=1), is_last=True), Code.INTERNAL),
        (opened(1) + data(1, prefixed(MESSAGE, mark=2), is_last=True), Code.INTERNAL),
        (opened(1) + data(1, b"", is_last=True), Code.UNIMPLEMENTED),
        (opened(1) + data(1, prefixed(MESSAGE)[:-1], is_last=True), Code.UNIMPLEMENTED),
        (opened(1) + data(1, prefixed(MESSAGE) * 2, is_last=True), Code.UNIMPLEMENTED),
        (opened(1) + data(1, b"\0\x7f\xff\xff\xff"), Code.RESOURCE_EXHAUSTED),
        (opened(1, "/inference.GRPCInferenceService/Nothing") + data(1, prefixed(b"")), None),
        (opened(1, "/nothing.of/Ours"), Code.UNIMPLEMENTED),
        (opened(1, STREAM_INFER) + data(1, prefixed(MESSAGE)[:-1], is_last=True), Code.INVALID_ARGUMENT),
        (opened(1, grpc_encoding="gzip") + data(1, prefixed(b"no gzip", mark=1), is_last=True), Code.INVALID_ARGUMENT),
        (
            opened(1, grpc_encoding="gzip")
            + data(1, prefixed(gzip.compress(bytes(MOST_BYTES + 1)), mark=1), is_last=True),
            Code.RESOURCE_EXHAUSTED,
        ),
    ],
)
async def test_each_broken_call_ends_with_its_status(wire: FrameWire, sent: bytes, code: Code | None) -> None:
    wire.send(sent)
    if code is None:  # an unknown method of ours is looked at once its message is there
        wire.send(data(1, b"", is_last=True))
        code = Code.UNIMPLEMENTED
    assert (await wire.status())[0] == code
    wire.send(called(3, MESSAGE))
    assert await wire.status() == (0, "")


@pytest.mark.parametrize(("coding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
@pytest.mark.parametrize("path", [INFER, STREAM_INFER, "/inference.GRPCInferenceService/ModelMetadata"])
async def test_messages_may_be_compressed(wire: FrameWire, path: str, coding: str, compress: Any) -> None:
    asked = message("ModelMetadataRequest", name="iris") if path.endswith("Metadata") else MESSAGE
    wire.send(opened(1, path, grpc_encoding=coding), data(1, prefixed(compress(asked), mark=1)))
    wire.send(data(1, prefixed(asked) if path == STREAM_INFER else b"", is_last=True))
    assert (await wire.headers())[b"grpc-accept-encoding"] == b"identity,deflate,gzip"
    assert b"x" in (await wire.next(DATA)).payload
    assert await wire.status() == (0, "")


def test_a_status_message_is_escaped_and_short() -> None:
    fields = dict(Decoder(2**16).decode(refusal(Code.NOT_FOUND, "100% of \n'é'")))
    assert (fields[b"grpc-status"], fields[b"grpc-message"]) == (b"5", b"100%25 of %0A'%C3%A9'")
    for text in ("é" * 5000, "a" * 5000, "%" * 1999 + "\n", "a" + "%" * 3000, "aa" + "%" * 3000):
        escaped = dict(Decoder(2**16).decode(refusal(Code.NOT_FOUND, text)))[b"grpc-message"]
        assert len(escaped) <= 6000
        assert escaped.count(b"%") * 3 + escaped.count(b"a") == len(escaped)


async def test_a_thousand_calls_and_streams_share_one_connection(channel: Channel) -> None:
    infer = channel.unary_unary(INFER)
    asked = [infer_request(id=str(n)).SerializeToString() for n in range(1000)]
    answers = await asyncio.gather(*(infer(each) for each in asked))
    assert [read("ModelInferResponse", each).id for each in answers] == [str(n) for n in range(1000)]
    streams = [channel.stream_stream(STREAM_INFER)() for _ in range(1000)]
    for stream, each in zip(streams, asked, strict=True):
        await stream.write(each)
    told = [read("ModelStreamInferResponse", await stream.read()) for stream in streams]
    assert [each.infer_response.id for each in told] == [str(n) for n in range(1000)]
    for stream in streams[:500]:
        stream.cancel()
    for stream in streams[500:]:
        await stream.done_writing()
        assert await stream.read() is grpc.aio.EOF
    assert read("ModelInferResponse", await infer(asked[7])).id == "7"


async def test_a_large_message_goes_both_ways(channel: Channel) -> None:
    numbers = np.arange(4 * 2**20, dtype=np.float32).reshape(1, -1)
    request = MESSAGES["ModelInferRequest"](model_name="iris")
    raw_tensor(request, "x", "FP32", numbers)
    sent = request.SerializeToString()
    cancelled = channel.unary_unary(INFER)(sent)
    await asyncio.sleep(0)
    cancelled.cancel()
    answer = read("ModelInferResponse", await channel.unary_unary(INFER)(sent))
    assert np.array_equal(np.frombuffer(answer.raw_output_contents[0], np.float32), numbers[0])


async def test_who_takes_no_answer_of_a_stream_has_no_further_question_read() -> None:
    model = PythonModel(lambda columns: columns)
    request = MESSAGES["ModelInferRequest"](model_name="iris")
    raw_tensor(request, "x", "FP32", np.zeros((1, 12_000), np.float32))
    question = prefixed(request.SerializeToString())
    scorer = Scorer(echo_scorer(InputField("x", "FP32", (-1, -1))).signature, model, IDENTITY)
    async with served(scorer) as port, connected(port) as wire:
        wire.send(frame(SETTINGS, 0, 0, b"\0\4\0\0\0\0"), opened(1, STREAM_INFER), data(1, question))
        while (await wire.next(WINDOW_UPDATE)).stream_id != 1:
            pass
        await wire.next(HEADERS)  # an answer has begun
        wire.send(data(1, question), frame(PING, 0, 0, bytes(8)))
        assert (await wire.next(PING, WINDOW_UPDATE)).kind == PING
        assert len(model.asked) == 1
        wire.send(window_update(1, 2**20), window_update(0, 2**20))
        assert (await wire.next(WINDOW_UPDATE)).stream_id == 1
        wire.send(data(1, b"", is_last=True))
        assert await wire.status() == (0, "")
        assert len(model.asked) == 2


async def test_a_deadline_ends_a_call_that_is_being_answered() -> None:
    release = threading.Event()

    def wait(columns: Columns) -> Columns:
        assert release.wait(DEADLINE_S)
        return {"y": np.zeros((1, 2), np.float32)}

    like = double_scorer()
    async with served(Scorer(like.signature, PythonModel(wait), IDENTITY), 1.0) as port, connected(port) as wire:
        wire.send(called(1, MESSAGE, grpc_timeout="50m"), opened(3, STREAM_INFER, grpc_timeout="60m"))
        assert [(await wire.status())[0], (await wire.status())[0]] == [4, 4]
        release.set()


async def test_the_clients_of_health_and_reflection_work(port: int, channel: Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    assert (await health.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING

    def reflected() -> list[str]:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as plain:
            known = ProtoReflectionDescriptorDatabase(plain)
            file = known.FindFileContainingSymbol("inference.GRPCInferenceService")
            return [*known.get_services(), *(each.name for each in file.service)]

    *services, own = await asyncio.to_thread(reflected)
    assert own == "GRPCInferenceService"
    assert {"grpc.health.v1.Health", "inference.GRPCInferenceService"} <= set(services)


@pytest.mark.parametrize("ours", [HEALTH_FILE, REFLECTION_FILE])
def test_standard_messages_are_those_of_their_authors(ours: Any) -> None:
    theirs = {each.DESCRIPTOR.package: each.DESCRIPTOR for each in (health_pb2, reflection_pb2)}[ours.package]
    pool = Messages(ours).pool
    for name in ours.messages:
        fields = pool.FindMessageTypeByName(f"{ours.package}.{name}").fields
        expected = theirs.message_types_by_name[name].fields
        assert sorted((each.number, each.name, each.type) for each in fields) == sorted(
            (each.number, each.name, each.type) for each in expected
        )
    for name in ours.services:
        methods = pool.FindServiceByName(f"{ours.package}.{name}").methods
        for each in methods:
            expected = theirs.services_by_name[name].methods_by_name[each.name]
            assert (each.client_streaming, each.server_streaming) == (
                expected.client_streaming,
                expected.server_streaming,
            )
