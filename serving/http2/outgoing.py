"""What a connection sends: whole answers at once where the windows allow it, else piece by piece as they do.

Only data counts against windows (RFC 9113, 5.2); heads and trailers keep their place before and behind it.
"""

import struct
from collections import deque
from collections.abc import Mapping
from typing import Final

from serving.http2.faults import ConnectionFault, ErrorCode, StreamFault
from serving.http2.frames import (
    DATA,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    HEAD,
    HEADERS,
    LARGEST_WINDOW,
    MOST_BYTES,
    frame,
)
from serving.http2.settings import FRAME_SIZE, TABLE_SIZE, WINDOW, read
from serving.http2.stream import Piece, Stream

_PREFIXED = struct.Struct(">IBIBI")  # the head of a frame of data, and that of a message of gRPC in it
PREFIX_BYTES: Final = 5  # before a message: whether it is compressed, and its length
_TABLE_BYTES = 4096  # of the client's table, until it says otherwise
_EMPTY_TABLE = b"\x20"  # the words that end the use of a table, before the next block
PIECE_BYTES: Final = 64 * 1024  # are written at once


class Outgoing:
    """The frames that wait to be written, and the windows of those that may not be yet."""

    def __init__(self, streams: Mapping[int, Stream]) -> None:
        self.first_window = DEFAULT_WINDOW  # of each new stream
        self.frames: list[bytes] = []
        self.waiting_bytes = self.waiting = 0  # of data on all streams, and how many they are
        self._streams, self._window, self._most_bytes = streams, DEFAULT_WINDOW, MOST_BYTES
        self._sending: deque[Stream] = deque()  # those whose window is open, each in its turn
        self._words = b""  # that the next block begins with

    def whole(self, stream: Stream, head: bytes, message: bytes, trailers: bytes) -> bool:
        """Send all of an answer of one message at once, if the windows allow it."""
        size = len(message) + PREFIX_BYTES
        if size > self._window or size > stream.send_window or size > MOST_BYTES or self._sending or self._words:
            return False
        self._window -= size
        stream_id = stream.id
        self.frames.append(
            b"%b%b%b%b%b%b"
            % (
                HEAD.pack(len(head) << 8 | HEADERS, END_HEADERS, stream_id),
                head,
                _PREFIXED.pack(size << 8, 0, stream_id, 0, size - PREFIX_BYTES),
                message,
                HEAD.pack(len(trailers) << 8 | HEADERS, END_HEADERS | END_STREAM, stream_id),
                trailers,
            )
        )
        return True

    def block(self, stream: Stream, block: bytes, *, is_last: bool = False) -> None:
        """Send a head, or trailers where nothing is before them."""
        block, self._words = self._words + block, b""
        self.frames.append(frame(HEADERS, END_HEADERS | END_STREAM if is_last else END_HEADERS, stream.id, block))

    def message(self, stream: Stream, message: bytes) -> None:
        """Send a message of gRPC, plain, once the windows allow it; a large one is not copied."""
        begun = MOST_BYTES - PREFIX_BYTES
        self.data(stream, b"\0" + len(message).to_bytes(4) + message[:begun])
        if len(message) > begun:
            self.data(stream, memoryview(message)[begun:])

    def data(self, stream: Stream, data: Piece) -> None:
        """Send this once the windows allow it."""
        if stream.pending is None:
            stream.pending = deque()
        if not stream.pending:
            stream.stuck_at = stream.connection.seen_at
            self.waiting += 1
        stream.pending.append(data)
        self._line_up(stream)
        stream.pending_bytes += len(data)
        self.waiting_bytes += len(data)

    def forget(self, stream: Stream) -> None:
        """Send no more of it."""
        if stream.pending:
            self.waiting -= 1
            self.waiting_bytes -= stream.pending_bytes
            stream.pending.clear()
            stream.pending_bytes = 0
        if stream.is_in_turn:  # which may never come
            self._sending.remove(stream)
            stream.is_in_turn = False

    def fill(self) -> list[Stream]:
        """Make frames of what may be sent, up to a piece; the streams that have nothing more to send."""
        done: list[Stream] = []
        sending, size = self._sending, 0
        while sending and self._window > 0 and size < PIECE_BYTES:
            stream = sending.popleft()
            stream.is_in_turn = False
            if not stream.pending or stream.send_window <= 0:
                continue  # forgotten, or it comes back with its window
            piece = stream.take(min(self._most_bytes, self._window, stream.send_window))
            length = len(piece)
            size += length
            self._window -= length
            stream.send_window -= length
            self.waiting_bytes -= length
            stream.stuck_at = stream.connection.seen_at
            self.frames += (HEAD.pack(length << 8 | DATA, 0, stream.id), bytes(piece))
            if stream.pending:
                self._line_up(stream)
            else:
                self.waiting -= 1
                done.append(stream)
        return done

    @property
    def may_go_on(self) -> bool:
        """Whether `fill` would make more frames."""
        return bool(self._sending) and self._window > 0

    def widen(self, more_bytes: int) -> None:
        """The connection's window grows. Raises `ConnectionFault`."""
        if not more_bytes:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a window grows by nothing")
        self._window += more_bytes
        if self._window > LARGEST_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "the connection's window is too large")

    def widen_stream(self, stream: Stream, more_bytes: int) -> None:
        """A stream's window grows. Raises `StreamFault`."""
        if not more_bytes:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "a window grows by nothing")
        if stream.send_window + more_bytes > LARGEST_WINDOW:
            raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR, "the stream's window is too large")
        self._change(stream, more_bytes)

    def agree(self, payload: bytes) -> None:
        """Take in the client's settings. Raises `ConnectionFault`."""
        for name, value in dict(read(payload)).items():  # the last one counts: each takes a look at all streams
            if name == WINDOW:
                change, self.first_window = value - self.first_window, value
                for stream in self._streams.values():
                    if stream.send_window + change > LARGEST_WINDOW:
                        raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a stream's window becomes too large")
                    self._change(stream, change)
            elif name == FRAME_SIZE:
                self._most_bytes = min(value, PIECE_BYTES)
            elif name == TABLE_SIZE and value < _TABLE_BYTES:
                self._words = _EMPTY_TABLE  # which we never used, but the client waits to hear it (RFC 9113, 4.3.1)

    def _change(self, stream: Stream, more_bytes: int) -> None:
        stream.send_window += more_bytes
        if stream.send_window > 0 and stream.pending:
            self._line_up(stream)

    def _line_up(self, stream: Stream) -> None:
        if not stream.is_in_turn:
            stream.is_in_turn = True
            self._sending.append(stream)
