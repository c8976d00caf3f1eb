"""One connection with a client that keeps to the rules or not: each frame by itself, over loopback."""

import asyncio

import pytest

from serving.http2 import settings
from serving.http2.faults import ErrorCode
from serving.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    reset,
    window_update,
)
from tests.serving.http2.conftest import Port
from tests.serving.http2.wire import STREAM_INFER, FrameWire, block, called, data, head, opened, prefixed
from tests.serving.protocols.grpc_messages import infer_request, read

MESSAGE = infer_request().SerializeToString()
GREETED = frame(SETTINGS, 0, 0, b"")


async def answer(wire: FrameWire) -> list[float]:
    """The numbers of the next answer."""
    found = await wire.next(DATA)
    told = read("ModelInferResponse", found.payload[5:])
    assert (await wire.status())[0] == 0
    return [float(each) for each in memoryview(told.raw_output_contents[0]).cast("f")]


async def test_a_server_says_hello_and_answers_settings_and_pings(wire: FrameWire) -> None:
    told = dict(settings.read((await wire.next(SETTINGS)).payload))
    assert told == {settings.ENABLE_PUSH: 0, settings.MOST_STREAMS: 1024, settings.LIST_SIZE: 16384}
    assert (await wire.next(WINDOW_UPDATE)).stream_id == 0
    assert (await wire.next(SETTINGS)).flags == ACK
    wire.send(frame(PING, 0, 0, b"12345678"))
    assert (await wire.next(PING)).payload == b"12345678"


async def test_a_call_may_be_cut_and_padded_in_any_way(wire: FrameWire) -> None:
    begun, message = head(), prefixed(MESSAGE)
    padded = b"\x05" + begun + bytes(5)
    wire.send(frame(HEADERS, END_HEADERS | PADDED, 1, padded), data(1, message, is_last=True))
    first = await answer(wire)
    parts = [frame(CONTINUATION, 0, 3, begun[at : at + 20]) for at in range(20, len(begun), 20)]
    wire.send(frame(HEADERS, 0, 3, begun[:20]), *parts, frame(CONTINUATION, END_HEADERS, 3, b""))
    wire.send(frame(0xEE, 7, 3, b"an extension"), frame(PRIORITY, 0, 3, b"\0\0\0\0\x10"))
    wire.send(*(frame(DATA, PADDED, 3, b"\x02" + message[at : at + 1] + b"\0\0") for at in range(len(message))))
    wire.send(frame(HEADERS, END_HEADERS | END_STREAM, 3, block({"x-checksum": "7"})))
    assert first == await answer(wire) == [1, 2, 3, 4]


async def test_bytes_may_come_one_by_one(port: Port) -> None:
    wire = await port.connect()
    for byte in called(1, MESSAGE):
        wire.send(bytes([byte]))
        await wire.writer.drain()
    assert await answer(wire) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(DATA, 0, 0, b""), ErrorCode.PROTOCOL_ERROR),
        (frame(DATA, 0, 5, b""), ErrorCode.PROTOCOL_ERROR),  # of a stream that was not opened
        (opened(2), ErrorCode.PROTOCOL_ERROR),
        (opened(5) + opened(3), ErrorCode.PROTOCOL_ERROR),
        (frame(HEADERS, END_HEADERS, 0, head()), ErrorCode.PROTOCOL_ERROR),
        (frame(HEADERS, END_HEADERS, 1, b"\x80"), ErrorCode.COMPRESSION_ERROR),
        (frame(HEADERS, END_HEADERS | PADDED, 1, b"\xff" + head()), ErrorCode.PROTOCOL_ERROR),
        (frame(HEADERS, 0, 1, head()) + frame(PING, 0, 0, bytes(8)), ErrorCode.PROTOCOL_ERROR),
        (frame(CONTINUATION, 0, 1, head()), ErrorCode.PROTOCOL_ERROR),
        (frame(SETTINGS, 0, 1, b""), ErrorCode.PROTOCOL_ERROR),
        (frame(SETTINGS, 0, 0, b"123"), ErrorCode.FRAME_SIZE_ERROR),
        (frame(SETTINGS, ACK, 0, bytes(6)), ErrorCode.FRAME_SIZE_ERROR),
        (frame(SETTINGS, 0, 0, b"\0\4\xff\xff\xff\xff"), ErrorCode.FLOW_CONTROL_ERROR),
        (frame(SETTINGS, 0, 0, b"\0\5\0\0\0\1"), ErrorCode.PROTOCOL_ERROR),
        (frame(PING, 0, 1, bytes(8)), ErrorCode.PROTOCOL_ERROR),
        (frame(PING, 0, 0, bytes(7)), ErrorCode.FRAME_SIZE_ERROR),
        (frame(GOAWAY, 0, 1, bytes(8)), ErrorCode.PROTOCOL_ERROR),
        (frame(PUSH_PROMISE, END_HEADERS, 1, bytes(4)), ErrorCode.PROTOCOL_ERROR),
        (frame(RST_STREAM, 0, 1, bytes(4)), ErrorCode.PROTOCOL_ERROR),
        (window_update(0, 0), ErrorCode.PROTOCOL_ERROR),
        (window_update(0, 2**31 - 1), ErrorCode.FLOW_CONTROL_ERROR),
        (frame(WINDOW_UPDATE, 0, 0, bytes(3)), ErrorCode.FRAME_SIZE_ERROR),
        (frame(0xEE, 0, 0, bytes(16_385)), ErrorCode.FRAME_SIZE_ERROR),
        (b"\xff\xff\xff\x00\x00\x00\x00\x00\x01", ErrorCode.FRAME_SIZE_ERROR),  # not waited for
    ],
)
async def test_a_broken_connection_ends_with_its_reason(wire: FrameWire, sent: bytes, code: ErrorCode) -> None:
    wire.send(sent)
    assert await wire.ends_with() == code


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (opened(1, te="gzip"), ErrorCode.PROTOCOL_ERROR),
        (opened(1, connection="close"), ErrorCode.PROTOCOL_ERROR),
        (opened(1, X_Upper="1"), ErrorCode.PROTOCOL_ERROR),
        (opened(1, x_cut="a\r\nb: c"), ErrorCode.PROTOCOL_ERROR),
        (frame(HEADERS, END_HEADERS, 1, head() + block({":path": "/"})), ErrorCode.PROTOCOL_ERROR),
        (frame(HEADERS, END_HEADERS, 1, block({":method": "POST"})), ErrorCode.PROTOCOL_ERROR),
        (opened(1, content_length="3") + data(1, b"four"), ErrorCode.PROTOCOL_ERROR),
        (opened(1, content_length="9") + data(1, b"four", is_last=True), ErrorCode.PROTOCOL_ERROR),
        (opened(1) + opened(1), ErrorCode.PROTOCOL_ERROR),  # trailers that end nothing
        (opened(1) + window_update(1, 0), ErrorCode.PROTOCOL_ERROR),
        (opened(1) + window_update(1, 2**31 - 1), ErrorCode.FLOW_CONTROL_ERROR),
    ],
)
async def test_a_broken_stream_ends_and_the_others_go_on(wire: FrameWire, sent: bytes, code: ErrorCode) -> None:
    wire.send(sent)
    assert await wire.resets_with() == code
    wire.send(called(3, MESSAGE))
    assert await answer(wire) == [1, 2, 3, 4]


async def test_a_closed_stream_stays_closed(wire: FrameWire) -> None:
    wire.send(called(1, MESSAGE))
    assert await answer(wire) == [1, 2, 3, 4]
    wire.send(data(1, b"more"))
    assert await wire.resets_with() == ErrorCode.STREAM_CLOSED
    wire.send(called(3, MESSAGE) + data(3, b"more"))
    assert await wire.resets_with() == ErrorCode.STREAM_CLOSED
    wire.send(called(5, MESSAGE))
    assert await answer(wire) == [1, 2, 3, 4]
    wire.send(opened(5))
    assert await wire.ends_with() == ErrorCode.STREAM_CLOSED


async def test_another_protocol_is_told_what_this_one_is(port: Port) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port.number)
    writer.write(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")
    assert b"this port speaks gRPC" in await reader.read()
    writer.close()
    await writer.wait_closed()


async def test_windows_hold_an_answer_back_until_they_open(wire: FrameWire) -> None:
    wire.send(frame(SETTINGS, 0, 0, b"\0\4\0\0\0\0"), called(1, MESSAGE), frame(PING, 0, 0, bytes(8)))
    assert (await wire.next(DATA, PING)).kind == PING
    wire.send(window_update(1, 10))
    first = await wire.next(DATA)
    assert (len(first.payload), first.flags & END_STREAM) == (10, 0)
    wire.send(frame(SETTINGS, 0, 0, b"\0\4\0\0\xff\xff"))
    rest = await wire.next(DATA)
    told = read("ModelInferResponse", (first.payload + rest.payload)[5:])
    assert (told.model_name, await wire.status()) == ("iris", (0, ""))


async def test_a_smaller_table_of_the_client_is_confirmed_in_the_next_block(wire: FrameWire) -> None:
    wire.send(frame(SETTINGS, 0, 0, b"\0\1\0\0\0\0"), called(1, MESSAGE))
    assert (await wire.next(HEADERS)).payload[:1] == b"\x20"


async def test_what_has_gone_away_is_answered_to_its_end(wire: FrameWire) -> None:
    wire.send(opened(1), frame(GOAWAY, 0, 0, bytes(8)), data(1, prefixed(MESSAGE), is_last=True))
    assert await answer(wire) == [1, 2, 3, 4]
    while await wire.frame() is not None:
        pass


async def test_draining_takes_no_further_call_and_finishes_what_has_begun(port: Port, wire: FrameWire) -> None:
    wire.send(opened(1))
    await port.until(lambda: any(each.is_busy for each in port.connections))
    for connection in port.connections:
        connection.drain()
    farewell = await wire.next(GOAWAY)
    assert (farewell.payload[:4], farewell.code) == (b"\0\0\0\1", ErrorCode.NO_ERROR)
    wire.send(opened(3))
    assert await wire.resets_with() == ErrorCode.REFUSED_STREAM
    wire.send(data(1, prefixed(MESSAGE), is_last=True))
    assert await answer(wire) == [1, 2, 3, 4]
    while await wire.frame() is not None:
        pass


async def test_a_reset_frees_the_stream(port: Port, wire: FrameWire) -> None:
    wire.send(opened(1), opened(3, STREAM_INFER), data(3, prefixed(MESSAGE)), reset(1, ErrorCode.CANCEL))
    assert (await wire.next(DATA)).stream_id == 3
    wire.send(reset(3, ErrorCode.CANCEL))
    await port.until(lambda: not any(each.is_busy for each in port.connections))
