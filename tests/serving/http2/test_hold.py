"""What a client can hold that stops in the middle, or asks for nothing but padding."""

import asyncio
import tracemalloc

from serving.engines.base import Columns
from serving.grpc_server import MOST_WATCHING
from serving.grpc_talk import MOST_WAITING
from serving.http2.connection import Connection
from serving.http2.faults import ErrorCode
from serving.http2.frames import DATA, DEFAULT_WINDOW, PADDED, PING, WINDOW_UPDATE, frame, reset, window_update
from serving.http2.store import FREE_BYTES
from serving.score import Scorer
from serving.signature import InputField, OutputField
from tests.serving.http2.conftest import Port, Start
from tests.serving.http2.wire import INFER, STREAM_INFER, FrameWire, called, data, opened, prefixed
from tests.serving.models import IDENTITY, PythonModel, signature_of
from tests.serving.protocols.grpc_messages import MESSAGES, infer_request

REQUEST_S, IDLE_S = 30.0, 600.0
LIVE = "/inference.GRPCInferenceService/ServerLive"
WATCH = "/grpc.health.v1.Health/Watch"
PADDING = frame(DATA, PADDED, 1, bytes((255,)) + bytes(255))  # and nothing else


def only(port: Port) -> Connection:
    (connection,) = port.connections
    return connection


async def expired(port: Port, wire: FrameWire) -> int:
    connection = only(port)
    connection.expire(asyncio.get_running_loop().time() + 10 * REQUEST_S, REQUEST_S, IDLE_S)
    return (await wire.status())[0]


async def test_padding_takes_no_window_away(port: Port, wire: FrameWire) -> None:
    wire.send(opened(1), PADDING * (DEFAULT_WINDOW // 256 + 10))
    assert (await wire.next(WINDOW_UPDATE)).stream_id == 0
    granted = await wire.next(WINDOW_UPDATE)
    assert granted.stream_id == 1


async def test_who_uses_its_window_up_for_padding_loses_the_room_for_its_message_in_time(
    port: Port, wire: FrameWire
) -> None:
    whole = prefixed(bytes(2**20))
    wire.send(opened(1), data(1, whole[:DEFAULT_WINDOW]))
    room = port.application.room
    await port.until(lambda: room.taken_bytes > 0)
    wire.send(data(1, whole[DEFAULT_WINDOW:-600]), PADDING * 300)
    await port.until(lambda: not only(port).is_blocked)
    wire.send(frame(PING, 0, 0, bytes(8)))
    await wire.next(PING)
    assert await expired(port, wire) == 4
    assert room.taken_bytes == 0


async def test_small_messages_without_an_end_count(port: Port, wire: FrameWire) -> None:
    for stream_id in range(1, 2001, 2):
        wire.send(opened(stream_id), data(stream_id, prefixed(bytes(16_000))))
    await port.until(lambda: port.application.room.taken_bytes >= 4 * FREE_BYTES)


async def test_a_connection_watches_so_many_times_and_again_once_it_stops(port: Port, wire: FrameWire) -> None:
    asked = data(1, prefixed(b""), is_last=True)

    def watched(stream_id: int) -> bytes:
        return opened(stream_id, WATCH) + asked[:5] + stream_id.to_bytes(4) + asked[9:]

    wire.send(*(watched(1 + 2 * number) for number in range(MOST_WATCHING)))
    for _ in range(MOST_WATCHING):
        await wire.next(DATA)
    wire.send(watched(2001))
    assert (await wire.status())[0] == 8
    other = await port.connect()
    other.send(watched(1))
    await other.next(DATA)
    wire.send(reset(1, ErrorCode.CANCEL), called(2003, b"", "/grpc.health.v1.Health/Check"))
    assert (await wire.status())[0] == 0
    wire.send(watched(2005))
    await wire.next(DATA)


async def test_a_query_or_an_escape_in_a_path_is_no_way_around_the_line_for_work(wire: FrameWire) -> None:
    message = infer_request().SerializeToString()
    for stream_id, path in enumerate((INFER, f"{INFER}?x", INFER.replace("Infer", "%49nfer"))):
        wire.send(called(1 + 2 * stream_id, message, path))
        assert (await wire.status())[0] == (0 if path == INFER else 12)


async def test_an_error_in_a_stream_names_the_message_that_was_too_much_to_be_parsed(
    port: Port, wire: FrameWire
) -> None:
    crowd = MESSAGES["ModelInferRequest"](id="seven").SerializeToString() + b"\x2a\x00" * 200_000
    wire.send(opened(1, STREAM_INFER), data(1, prefixed(crowd)[:DEFAULT_WINDOW]))
    await port.until(lambda: port.application.room.taken_bytes > 0)
    wire.send(data(1, prefixed(crowd)[DEFAULT_WINDOW:], is_last=True))
    told = MESSAGES["ModelStreamInferResponse"].FromString((await wire.next(DATA)).payload[5:])
    assert ("more tensors" in told.error_message, told.infer_response.id) == (True, "seven")


async def test_a_stream_of_small_messages_lets_others_have_their_turn(start: Start) -> None:
    loop, asked, most = asyncio.get_running_loop(), 0, 0

    def counted(columns: Columns) -> Columns:
        nonlocal asked
        asked += 1
        return columns

    def turn(before: int = 0) -> None:
        nonlocal most
        most = max(most, asked - before)
        loop.call_soon(turn, asked)

    field = InputField("x", "FP32", (-1, -1))
    signature = signature_of((field,), (OutputField("x", "FP32", (-1, -1)),))
    wire = await (await start(Scorer(signature, PythonModel(counted), IDENTITY))).connect()
    message = prefixed(infer_request().SerializeToString())
    many = DEFAULT_WINDOW // len(message)
    turn()
    wire.send(
        window_update(0, 2**30), opened(1, STREAM_INFER), window_update(1, 2**30), data(1, message * many, is_last=True)
    )
    for _ in range(many):
        await wire.next(DATA)
    assert (asked, most <= MOST_WAITING) == (many, True)


async def test_heads_of_calls_that_differ_are_not_kept_for_as_long_as_a_connection(wire: FrameWire) -> None:
    async def call(stream_id: int) -> None:
        wire.send(called(stream_id, b"", LIVE, x_trace=f"{stream_id:04}" + "t" * 1_700))
        assert await wire.status() == (0, "")

    await call(1)
    tracemalloc.start()
    try:
        for stream_id in range(3, 500, 2):
            await call(stream_id)
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held_bytes < 300_000
