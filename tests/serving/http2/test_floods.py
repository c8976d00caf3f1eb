"""What would use up a server that trusts its clients: each flood ends, and what is held meanwhile is bounded."""

import asyncio
import gc
import math
import random
from contextlib import suppress

import numpy as np
import pytest

from serving import pace
from serving.engines.base import Columns
from serving.grpc_call import Message
from serving.http2.connection import Connection
from serving.http2.faults import ErrorCode
from serving.http2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    HEADERS,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    reset,
    window_update,
)
from serving.http2.patience import AT_ONCE
from serving.http2.settings import STREAMS
from serving.http2.streams import MOST_WAITING_BYTES, STALL_S
from serving.score import Scorer
from serving.signature import InputField, OutputField
from tests.serving.http2.conftest import ROOM_BYTES, Port, Start
from tests.serving.http2.wire import (
    DEADLINE_S,
    INFER,
    STREAM_INFER,
    FrameWire,
    block,
    called,
    data,
    head,
    opened,
    prefixed,
)
from tests.serving.models import IDENTITY, PythonModel, signature_of
from tests.serving.protocols.grpc_messages import MESSAGES, infer_request, raw_tensor

MESSAGE = infer_request().SerializeToString()
MANY = AT_ONCE + 50
FLOOD = 2 * AT_ONCE + 50  # more than the patience of ten seconds, which it may take on a busy machine
REQUEST_S, IDLE_S = 30.0, 600.0
LIVE = "/inference.GRPCInferenceService/ServerLive"
NO_WINDOW = frame(SETTINGS, 0, 0, b"\0\4\0\0\0\0")
WIDE = frame(SETTINGS, 0, 0, b"\0\4\x7f\xff\xff\xff")


def large(values: int) -> bytes:
    request = MESSAGES["ModelInferRequest"](model_name="iris")
    raw_tensor(request, "x", "FP32", np.zeros((1, values), np.float32))
    return bytes(request.SerializeToString())


def only(port: Port) -> Connection:
    (connection,) = port.connections
    return connection


@pytest.mark.parametrize(
    "flood",
    [
        frame(PING, 0, 0, bytes(8)) * FLOOD,
        frame(SETTINGS, 0, 0, b"") * FLOOD,
        opened(1) + frame(DATA, 0, 1, b"") * FLOOD,
        b"".join(opened(stream_id) + reset(stream_id, ErrorCode.CANCEL) for stream_id in range(1, 2 * FLOOD, 2)),
        b"".join(opened(stream_id, te="x") for stream_id in range(1, 2 * FLOOD, 2)),
        frame(HEADERS, 0, 1, b"") + frame(CONTINUATION, 0, 1, b"") * 17,
        frame(HEADERS, 0, 1, bytes(16_384)) + frame(CONTINUATION, 0, 1, bytes(16_384)) * 4,
    ],
    ids=["pings", "settings", "empty data", "rapid resets", "malformed heads", "continuations", "a large head"],
)
async def test_a_flood_ends_with_a_request_to_calm_down(wire: FrameWire, flood: bytes) -> None:
    wire.send(flood)
    assert await wire.ends_with() == ErrorCode.ENHANCE_YOUR_CALM


async def test_a_busy_client_may_ping_and_cancel_as_it_goes(port: Port, wire: FrameWire) -> None:
    wire.send(window_update(0, 2**30))
    for first in range(1, 2 * MANY, 100):
        wire.send(*(called(first + 2 * n, MESSAGE) + frame(PING, 0, 0, bytes(8)) * 2 for n in range(50)))
        for _ in range(50):
            assert await wire.status() == (0, "")


async def test_a_head_that_is_too_long_is_refused_and_the_table_kept(wire: FrameWire) -> None:
    begun = head() + b"\x40\x01a\x01b" + block({"x-long": "v" * 17_000}) + b"\x40\x01c\x01d"
    wire.send(frame(HEADERS, 0, 1, begun[:16_000]), frame(CONTINUATION, END_HEADERS, 1, begun[16_000:]))
    assert (await wire.status())[0] == 8
    wire.send(frame(HEADERS, END_HEADERS, 3, head() + b"\xbe\xbf"), data(3, prefixed(MESSAGE), is_last=True))
    assert await wire.status() == (0, "")


async def test_no_more_streams_are_opened_than_was_said(port: Port, wire: FrameWire) -> None:
    wire.send(*(opened(2 * n + 1) for n in range(STREAMS + 1)))
    assert await wire.resets_with() == ErrorCode.REFUSED_STREAM
    wire.send(reset(1, ErrorCode.CANCEL), called(2 * STREAMS + 5, MESSAGE))
    assert await wire.status() == (0, "")


async def test_who_takes_no_answers_gets_no_more_made(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "_HARMFUL_S", math.inf)  # a call that is held up once moves no other into a thread
    model = PythonModel(lambda columns: columns)
    signature = signature_of((InputField("x", "FP32", (-1, -1)),), (OutputField("x", "FP32", (-1, -1)),))
    port = await start(Scorer(signature, model, IDENTITY))
    wire = await port.connect()
    wire.send(called(1, MESSAGE))
    assert await wire.status() == (0, "")
    model.asked.clear()
    wire.send(NO_WINDOW, *(called(2 * n + 3, large(2_500)) for n in range(400)))  # 10 KB each, on the loop
    await port.until(lambda: only(port).is_congested)
    wire.send(frame(PING, 0, 0, bytes(8)))
    await wire.next(PING)
    asked = len(model.asked)
    wire.send(opened(901, LIVE), data(901, prefixed(b""), is_last=True), window_update(901, 100))
    assert (await wire.next(DATA)).payload == prefixed(b"\x08\x01")
    assert MOST_WAITING_BYTES // 10_100 <= asked < 1.2 * MOST_WAITING_BYTES // 10_000
    wire.send(WIDE, window_update(0, 2**30))
    for _ in range(401):
        assert await wire.status() == (0, "")
    assert len(model.asked) == 400


async def test_who_reads_nothing_is_read_no_further_and_given_up(port: Port, wire: FrameWire) -> None:
    wire.send(WIDE, window_update(0, 2**30))
    connection = only(port)
    wire.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport of both directions
    message, stream_id = large(15_000), 1
    while not connection.is_blocked:
        wire.send(called(stream_id, message))
        stream_id += 2
        await asyncio.sleep(0)
    connection.expire(connection.loop.time() + STALL_S + 1, REQUEST_S, IDLE_S)
    await connection.closed


async def test_an_answer_that_nobody_takes_is_given_up(port: Port, wire: FrameWire) -> None:
    wire.send(NO_WINDOW, called(1, MESSAGE))
    await wire.next(HEADERS)
    connection = only(port)
    connection.expire(connection.loop.time() + STALL_S + 1, REQUEST_S, IDLE_S)
    assert await wire.resets_with() == ErrorCode.CANCEL


@pytest.mark.parametrize(
    "begun", [opened(1), opened(1) + data(1, b"\0\0\0\x10\0abc"), opened(1, STREAM_INFER) + data(1, b"\0\0\0\x10\0abc")]
)
async def test_half_a_message_is_not_waited_for_for_ever(port: Port, wire: FrameWire, begun: bytes) -> None:
    wire.send(begun, frame(PING, 0, 0, bytes(8)))
    await wire.next(PING)
    connection = only(port)
    connection.expire(connection.loop.time() + REQUEST_S - 1, REQUEST_S, IDLE_S)
    connection.expire(connection.loop.time() + REQUEST_S + 1, REQUEST_S, IDLE_S)
    assert (await wire.status())[0] == 4
    assert await wire.resets_with() == ErrorCode.NO_ERROR
    wire.send(data(1, b"more of it"), called(3, MESSAGE))
    assert await wire.status() == (0, "")


async def test_a_silent_client_is_asked_and_then_left(port: Port, wire: FrameWire) -> None:
    wire.send(opened(1, STREAM_INFER), frame(PING, 0, 0, bytes(8)))
    await wire.next(PING)
    connection = only(port)
    now = connection.loop.time()
    connection.expire(now + 100, REQUEST_S, IDLE_S)
    assert (await wire.next(PING)).flags == 0
    connection.expire(now + 131, REQUEST_S, IDLE_S)
    await connection.closed


async def test_an_idle_connection_is_closed_in_the_end(port: Port, wire: FrameWire) -> None:
    wire.send(called(1, MESSAGE))
    assert await wire.status() == (0, "")
    connection = only(port)
    connection.expire(connection.loop.time() + IDLE_S + 1, REQUEST_S, IDLE_S)
    assert await wire.ends_with() == ErrorCode.NO_ERROR


async def test_a_large_message_waits_until_there_is_room(start: Start) -> None:
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    def wait(columns: Columns) -> Columns:
        if np.asarray(columns["x"]).size > 100:
            asyncio.run_coroutine_threadsafe(release.wait(), loop).result(DEADLINE_S)
        return {"y": np.zeros((1, 1), np.float32)}

    signature = signature_of((InputField("x", "FP32", (-1, -1)),), (OutputField("y", "FP32", (-1, 1)),))
    port = await start(Scorer(signature, PythonModel(wait), IDENTITY), 1.0)
    room, message = port.application.room, prefixed(large(7 * 2**18))
    first, second = await port.connect(), await port.connect()
    first.send(opened(1), data(1, message[:60_000]))
    assert (await first.next(WINDOW_UPDATE)).stream_id == 0
    assert (await first.next(WINDOW_UPDATE)).stream_id == 1
    first.send(data(1, message[60_000:], is_last=True))
    second.send(opened(1), data(1, message[:60_000]), called(3, MESSAGE))
    assert await second.status() == (0, "")  # small ones pass
    assert (room.taken_bytes, room.waiting) == (len(message) - 5, 1)
    assert room.taken_bytes <= ROOM_BYTES
    release.set()
    assert await first.status() == (0, "")
    while (await second.next(WINDOW_UPDATE)).stream_id != 1:
        pass
    second.send(data(1, message[60_000:], is_last=True))
    assert await second.status() == (0, "")


async def test_a_large_message_that_finds_no_room_in_time_is_refused(port: Port, wire: FrameWire) -> None:
    room = port.application.room
    assert room.take(ROOM_BYTES)
    wire.send(opened(1), data(1, prefixed(large(2**18))[:60_000]), frame(PING, 0, 0, bytes(8)))
    await wire.next(PING)
    assert room.waiting == 1
    connection = only(port)
    connection.expire(connection.loop.time() + REQUEST_S + 1, REQUEST_S, IDLE_S)
    assert (await wire.status())[0] == 14
    wire.send(opened(3), data(3, prefixed(large(2**18))[:60_000]), frame(PING, 0, 0, bytes(8)))
    await wire.next(PING)
    wire.send(reset(3, ErrorCode.CANCEL))
    await port.until(lambda: not room.waiting)
    room.give_back(ROOM_BYTES)


async def test_large_messages_of_a_stream_follow_each_other(wire: FrameWire) -> None:
    message = prefixed(large(3 * 2**19))  # of 6 MB, in a room of 10
    wire.send(WIDE, window_update(0, 2**30), opened(1, STREAM_INFER))
    for _ in range(3):
        wire.send(data(1, message[:60_000]))
        while (await wire.next(WINDOW_UPDATE)).stream_id != 1:
            pass
        wire.send(data(1, message[60_000:]))
        size = 0
        while size < len(message):
            size += len((await wire.next(DATA)).payload)
    wire.send(data(1, b"", is_last=True))
    assert await wire.status() == (0, "")


async def test_a_message_of_nothing_costs_no_more_than_it_takes(port: Port, wire: FrameWire) -> None:
    wire.send(NO_WINDOW, opened(1, STREAM_INFER), data(1, prefixed(b"") * 3_000))
    await wire.next(HEADERS)
    wire.send(frame(PING, 0, 0, bytes(8)))
    await wire.next(PING)
    assert sum(isinstance(each, Message) for each in gc.get_objects()) < 50
    wire.send(WIDE, data(1, b"", is_last=True), window_update(0, 2**30))
    assert await wire.status() == (0, "")


async def test_many_halves_of_small_messages_share_the_room(port: Port, wire: FrameWire) -> None:
    half = prefixed(large(15_000))[:50_000]
    wire.send(*(opened(2 * n + 1) + data(2 * n + 1, half) for n in range(400)))  # 20 MB, of a room of 10
    assert (await wire.status())[0] == 14
    assert port.application.room.taken_bytes <= ROOM_BYTES
    wire.send(*(reset(2 * n + 1, ErrorCode.CANCEL) for n in range(400)))
    await port.until(lambda: not port.application.room.taken_bytes)


async def test_tiny_frames_of_a_large_message_hold_no_more_than_it(port: Port, wire: FrameWire) -> None:
    message = prefixed(large(2**14))
    wire.send(WIDE, window_update(0, 2**30), opened(1))
    wire.send(*(frame(DATA, 0, 1, message[at : at + 2]) for at in range(0, len(message), 2)))
    wire.send(data(1, b"", is_last=True))
    assert await wire.status() == (0, "")


def hostile(dice: random.Random) -> bytes:
    """Some frames as a client would send them, and some as none would."""
    parts = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", frame(SETTINGS, 0, 0, b"")]
    ids = [1, 3, 5, 7, 9, 11]
    for _ in range(dice.randrange(1, 30)):
        stream_id = dice.choice(ids)
        payload = dice.choice(
            [MESSAGE, prefixed(MESSAGE), prefixed(MESSAGE, mark=1), dice.randbytes(dice.randrange(60))]
        )
        choices = [
            opened(stream_id, dice.choice([INFER, STREAM_INFER, "/", "/grpc.health.v1.Health/Watch"])),
            opened(stream_id, grpc_encoding=dice.choice(["gzip", "deflate", "identity", "br"])),
            opened(stream_id, grpc_timeout=dice.choice(["1n", "0m", "5S", "x"])),
            data(stream_id, payload, is_last=dice.random() < 0.5),
            called(stream_id, MESSAGE),
            reset(stream_id, ErrorCode.CANCEL),
            window_update(dice.choice([0, stream_id]), dice.choice([0, 1, 2**20, 2**31 - 1])),
            frame(
                SETTINGS, 0, 0, bytes([0, dice.randrange(8)]) + dice.choice([bytes(4), b"\0\0\xff\xff", b"\x7f" * 4])
            ),
            frame(dice.randrange(12), dice.randrange(256), stream_id, dice.randbytes(dice.randrange(40))),
            frame(HEADERS, END_HEADERS, stream_id, dice.randbytes(dice.randrange(60))),
            frame(RST_STREAM, 0, stream_id, bytes(4)),
        ]
        parts.append(dice.choice(choices))
    whole = bytearray(b"".join(parts))
    for _ in range(dice.choice([0, 0, 1, 3])):
        whole[dice.randrange(24, len(whole))] = dice.randrange(256)
    return bytes(whole)


async def test_whatever_comes_breaks_no_server(port: Port, capsys: pytest.CaptureFixture[str]) -> None:
    dice = random.Random(9113)
    for _ in range(400):
        reader, writer = await asyncio.open_connection("127.0.0.1", port.number)
        writer.write(hostile(dice))
        if dice.random() < 0.5:
            writer.write_eof()
            with suppress(ConnectionError):
                await asyncio.wait_for(reader.read(), DEADLINE_S)
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)
    await port.until(lambda: not port.connections)
    assert "Traceback" not in capsys.readouterr().err
    wire = await port.connect()
    wire.send(called(1, MESSAGE))
    assert await wire.status() == (0, "")
