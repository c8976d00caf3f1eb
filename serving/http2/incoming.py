"""What a client sends, cut into frames (RFC 9113, 4 and 6.10); a header block of several frames comes as one.

Between the frames of a block no other may stand; how large it becomes and of how many frames is bounded
(the flood of CVE-2024-27316).
"""

from collections.abc import Iterator
from typing import Final

from serving.http2.faults import ConnectionFault, ErrorCode
from serving.http2.frames import (
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    HEAD,
    HEAD_BYTES,
    HEADERS,
    MOST_BYTES,
    NUMBER,
    PADDED,
    PREFACE,
    SETTINGS,
    WITH_PRIORITY,
    unpadded,
)

MOST_BLOCK_BYTES: Final = 64 * 1024
MOST_CONTINUED: Final = 16
_OF_PRIORITY = 5  # bytes: a stream, of which the first bit says more, and a weight
_STREAM = 0x7FFF_FFFF

Frame = tuple[int, int, int, bytes]  # type, flags, stream, payload


class Incoming:
    """The frames of one connection."""

    def __init__(self) -> None:
        self._rest = b""  # of a frame that is not all here, or of the preface
        self._is_greeted = self._is_settled = False
        self._block: list[bytes] = []  # the parts of one that goes on
        self._block_bytes = self._block_stream = self._block_flags = 0

    @property
    def has_begun(self) -> bool:
        """Whether the client has said that it speaks HTTP/2."""
        return self._is_settled

    def frames(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete with these bytes. Raises `ConnectionFault`."""
        if self._rest:
            data, self._rest = self._rest + data, b""
        at = 0
        if not self._is_greeted:
            if not PREFACE.startswith(data[: len(PREFACE)]):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "this port speaks gRPC, over HTTP/2 without TLS")
            if len(data) < len(PREFACE):
                self._rest = data
                return
            self._is_greeted, at = True, len(PREFACE)
        size = len(data)
        while size - at >= HEAD_BYTES:
            word, flags, stream_id = HEAD.unpack_from(data, at)
            begin = at + HEAD_BYTES
            end = begin + (word >> 8)
            kind = word & 0xFF
            if end > size or not self._is_settled or self._block_stream:
                self._check(kind, word >> 8, stream_id & _STREAM)
                if end > size:
                    break
            elif end - begin > MOST_BYTES:
                self._check(kind, word >> 8, stream_id)
            at = end
            if kind in (HEADERS, CONTINUATION):
                found = self._headers(kind, flags, stream_id & _STREAM, data[begin:end])
                if found is not None:
                    yield found
            else:
                yield kind, flags, stream_id & _STREAM, data[begin:end]
        self._rest = data[at:]

    def _check(self, kind: int, size: int, stream_id: int) -> None:
        """Refuse a frame by its head, before it is waited for. Raises `ConnectionFault`."""
        if not self._is_settled:
            if kind != SETTINGS:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the first frame must be SETTINGS")
            self._is_settled = True
        if size > MOST_BYTES:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"a frame has more than {MOST_BYTES} bytes")
        if self._block_stream and (kind != CONTINUATION or stream_id != self._block_stream):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a frame stands within a header block")

    def _headers(self, kind: int, flags: int, stream_id: int, payload: bytes) -> Frame | None:
        """The frame of a whole block, once there is one."""
        if not stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a header block needs a stream")
        if kind == HEADERS:
            if flags & PADDED:
                payload = unpadded(payload)
            if flags & WITH_PRIORITY:
                payload = _without_priority(payload, stream_id)
            if flags & END_HEADERS:
                return HEADERS, flags, stream_id, payload
            self._block_stream, self._block_flags = stream_id, flags & END_STREAM
        elif not self._block_stream:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "nothing goes on here")
        self._block.append(payload)
        self._block_bytes += len(payload)
        if self._block_bytes > MOST_BLOCK_BYTES or len(self._block) > MOST_CONTINUED:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "a header block goes on for too long")
        if not flags & END_HEADERS:
            return None
        whole = HEADERS, self._block_flags | END_HEADERS, stream_id, b"".join(self._block)
        self._block, self._block_bytes, self._block_stream = [], 0, 0
        return whole


def _without_priority(payload: bytes, stream_id: int) -> bytes:
    check_priority(payload, stream_id)
    return payload[_OF_PRIORITY:]


def check_priority(payload: bytes, stream_id: int) -> None:
    """Raises `ConnectionFault` for what is no priority. What one says is of no use to anybody (RFC 9113, 5.3)."""
    if len(payload) < _OF_PRIORITY:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a priority has five bytes")
    if NUMBER.unpack_from(payload)[0] & _STREAM == stream_id:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a stream depends on itself")
