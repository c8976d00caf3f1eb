"""What a client can hold that stops in the middle, or asks for nothing but padding."""

import asyncio

from serving.http2.connection import Connection
from serving.http2.frames import DATA, DEFAULT_WINDOW, PADDED, WINDOW_UPDATE, frame
from serving.http2.store import FREE_BYTES
from tests.serving.http2.conftest import Port
from tests.serving.http2.wire import FrameWire, data, opened, prefixed

REQUEST_S, IDLE_S = 30.0, 600.0
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
    wire.send(frame(6, 0, 0, bytes(8)))
    await wire.next(6)
    assert await expired(port, wire) == 4
    assert room.taken_bytes == 0


async def test_small_messages_without_an_end_count(port: Port, wire: FrameWire) -> None:
    for stream_id in range(1, 2001, 2):
        wire.send(opened(stream_id), data(stream_id, prefixed(bytes(16_000))))
    await port.until(lambda: port.application.room.taken_bytes >= 4 * FREE_BYTES)
