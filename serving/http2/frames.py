"""The frames of HTTP/2 as bytes (RFC 9113, 4 and 6): their heads, and those that a server sends by itself."""

import struct
from typing import Final

from serving.http2.faults import ConnectionFault, ErrorCode

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 0x01, 0x01, 0x04, 0x08, 0x20
HEAD: Final = struct.Struct(">IBI")  # length and type in one word, flags, stream
HEAD_BYTES: Final = HEAD.size
NUMBER: Final = struct.Struct(">I")
MOST_BYTES: Final = 16_384  # of a frame's payload: what everybody must read, and we ask for no more
LARGEST_WINDOW: Final = 2**31 - 1
DEFAULT_WINDOW: Final = 65_535  # of a connection and of each stream, until somebody says otherwise
MOST_DEBUG: Final = 200  # bytes of a reason
_GOAWAY = struct.Struct(">II")


def frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    """One frame."""
    return HEAD.pack(len(payload) << 8 | kind, flags, stream_id) + payload


def window_update(stream_id: int, more_bytes: int) -> bytes:
    """So many bytes more may be sent."""
    return HEAD.pack(4 << 8 | WINDOW_UPDATE, 0, stream_id) + NUMBER.pack(more_bytes)


def reset(stream_id: int, code: ErrorCode) -> bytes:
    """The end of a stream."""
    return HEAD.pack(4 << 8 | RST_STREAM, 0, stream_id) + NUMBER.pack(code)


def goaway(last_stream_id: int, code: ErrorCode, text: str = "") -> bytes:
    """No stream behind this one is read."""
    return frame(GOAWAY, 0, 0, _GOAWAY.pack(last_stream_id, code) + text.encode("utf-8", "replace")[:MOST_DEBUG])


def unpadded(payload: bytes) -> bytes:
    """What a padded frame carries. Raises `ConnectionFault`."""
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the padding is longer than its frame")
    return payload[1 : len(payload) - payload[0]]


def number_of(payload: bytes, what: str) -> int:
    """The number that is all of a payload. Raises `ConnectionFault`."""
    if len(payload) != NUMBER.size:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"{what} has {len(payload)} bytes instead of 4")
    number: int = NUMBER.unpack(payload)[0]
    return number
