"""The settings of both sides (RFC 9113, 6.5): what we tell, and what a client may tell us."""

import struct
from collections.abc import Iterator
from typing import Final

from serving.http2.faults import ConnectionFault, ErrorCode
from serving.http2.frames import LARGEST_WINDOW, MOST_BYTES, SETTINGS, frame

TABLE_SIZE, ENABLE_PUSH, MOST_STREAMS, WINDOW, FRAME_SIZE, LIST_SIZE = range(1, 7)
STREAMS: Final = 1024  # of a client at once; who has more lets them wait, or takes another connection
LIST_BYTES: Final = 16 * 1024  # of a request's fields
_ENTRY = struct.Struct(">HI")
_LARGEST_FRAME = 2**24 - 1


def ours() -> bytes:
    """The frame of our settings; the others are the defaults."""
    told = {ENABLE_PUSH: 0, MOST_STREAMS: STREAMS, LIST_SIZE: LIST_BYTES}
    return frame(SETTINGS, 0, 0, b"".join(_ENTRY.pack(*each) for each in told.items()))


def read(payload: bytes) -> Iterator[tuple[int, int]]:
    """A client's settings in their order. Raises `ConnectionFault`."""
    if len(payload) % _ENTRY.size:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a setting has six bytes")
    for name, value in _ENTRY.iter_unpack(payload):
        if name == ENABLE_PUSH and value > 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "ENABLE_PUSH is 0 or 1")
        if name == WINDOW and value > LARGEST_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "the initial window is too large")
        if name == FRAME_SIZE and not MOST_BYTES <= value <= _LARGEST_FRAME:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "this is no frame size")
        yield name, value
