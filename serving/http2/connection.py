"""One HTTP/2 connection of a client (RFC 9113): its frames, each to the stream that it belongs to."""

import asyncio
from collections.abc import Callable
from typing import Final, cast

from serving.http2 import frames, settings
from serving.http2.faults import ConnectionFault, ErrorCode, StreamFault
from serving.http2.fields import check_trailers, request_head
from serving.http2.frames import ACK, DEFAULT_WINDOW, END_STREAM, PADDED, number_of
from serving.http2.hpack import Decoder, Field
from serving.http2.incoming import Incoming, check_priority
from serving.http2.stream import Opening, Service, Stream
from serving.http2.streams import PING, Streams
from serving.room import Room

WINDOW: Final = 4 * 1024 * 1024  # of the connection; what is held of it is bounded by the streams' own
MOST_REMEMBERED: Final = 256  # header blocks and what they ask for
MOST_BLOCK_BYTES: Final = 2048  # of one that is remembered
MOST_REMEMBERED_BYTES: Final = 32 * 1024  # of all: an idle connection keeps them
WRITE_BYTES: Final = 256 * 1024  # that the transport holds before it asks to wait


class Connection(Streams, asyncio.Protocol):
    """Reads frames and hands them on."""

    def __init__(self, service: Service, all_open: set["Connection"], room: Room | None = None) -> None:
        super().__init__(room)
        self._service, self._open = service, all_open
        self._incoming, self._decoder = Incoming(), Decoder(settings.LIST_BYTES)
        self._openings: dict[bytes, tuple[Opening, int | None]] = {}
        self._openings_bytes = 0
        self._window = WINDOW
        self._handlers: tuple[Callable[[int, int, bytes], None], ...] = (
            self._on_data, self._on_headers, self._on_priority, self._on_reset, self._on_settings, self._on_promise,
            self._on_ping, self._on_goaway, self._on_window,
        )  # fmt: skip

    # The transport calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_BYTES)
        self._open.add(self)
        self._transport.write(settings.ours() + frames.window_update(0, WINDOW - DEFAULT_WINDOW))

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.discard(self)
        self._transport = None
        self._abandon()
        self.store.close()
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        self._can_write, self._stuck_at = False, self.loop.time()
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._can_write = True
        self._advance()

    def data_received(self, data: bytes) -> None:
        if self._is_over:
            return
        self.seen_at = self.loop.time()
        self._is_at_work = True
        try:
            for kind, flags, stream_id, payload in self._incoming.frames(data):
                if kind < len(self._handlers):  # others are extensions
                    try:
                        self._handlers[kind](flags, stream_id, payload)
                    except StreamFault as fault:
                        self.reset(stream_id, fault.code)
                        self._lose_patience()
        except ConnectionFault as fault:
            self._fail(fault)
        finally:
            self._is_at_work = False
        self._advance()

    def expire(self, now: float, request_s: float, idle_s: float) -> None:
        """Give up on a client that does not go on, or that has been silent for long."""
        if not self._incoming.has_begun and now - self.seen_at > request_s:
            self._hang_up()
        self._look_around(now, request_s, idle_s)

    # Frames.

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        size = len(payload)
        self._window -= size
        if self._window < WINDOW // 2:
            if self._window < 0:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "more was sent than the connection's window")
            self._out.frames.append(frames.window_update(0, WINDOW - self._window))
            self._window = WINDOW
        if flags & PADDED:
            payload = frames.unpadded(payload)
        stream = self._streams.get(stream_id)
        if stream is None:
            return self._seen.check_data(stream_id)
        stream.recv_window -= size
        if stream.is_ended:
            raise StreamFault(ErrorCode.STREAM_CLOSED, "the stream has ended")
        if stream.recv_window < 0:
            raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR, "more was sent than the stream's window")
        if stream.bytes_left is not None:
            stream.bytes_left -= len(payload)
            if stream.bytes_left < 0:
                raise StreamFault(ErrorCode.PROTOCOL_ERROR, "the body is longer than its content length")
        is_end = bool(flags & END_STREAM)
        if payload:
            stream.is_ended = is_end
            stream.received(payload)
        elif not is_end:
            self._lose_patience()
            if size:  # padding alone, which nobody holds
                self.grant(stream, size)
        return self._end(stream) if is_end else None

    def _on_headers(self, flags: int, stream_id: int, block: bytes) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None:
            return self._on_trailers(flags, stream, block)
        is_new = self._seen.open(stream_id)
        found = self._openings.get(block) or self._read(block)
        if not is_new:
            return None
        if self._is_leaving or len(self._streams) >= settings.STREAMS:
            raise StreamFault(ErrorCode.REFUSED_STREAM, "there are too many streams")
        opening, content_length = found
        stream = self._streams[stream_id] = opening.open(self, stream_id)
        stream.bytes_left = content_length
        stream.opened()
        return self._end(stream) if flags & END_STREAM else None

    def _on_trailers(self, flags: int, stream: Stream, block: bytes) -> None:
        fields = self._decoded(block)
        if stream.is_ended:
            raise StreamFault(ErrorCode.STREAM_CLOSED, "the stream has ended")
        if not flags & END_STREAM:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "trailers end a stream")
        check_trailers(fields)
        self._end(stream)

    def _end(self, stream: Stream) -> None:
        if stream.bytes_left:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "the body is shorter than its content length")
        stream.is_ended = True
        if stream.id in self._streams:  # it may have been answered already
            stream.ended()

    def _on_priority(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a priority needs a stream")
        if len(payload) != 5:
            raise StreamFault(ErrorCode.FRAME_SIZE_ERROR, "a priority has five bytes")
        check_priority(payload, stream_id)

    def _on_reset(self, flags: int, stream_id: int, payload: bytes) -> None:
        number_of(payload, "RST_STREAM")
        self._lose_patience()
        stream = self._streams.get(stream_id)
        if stream is None:
            return self._seen.check_other(stream_id)
        self._drop(stream)
        return stream.gone()

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "settings are the connection's")
        if flags & ACK:
            if payload:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "an acknowledgement says nothing")
            return
        self._lose_patience()
        self._out.agree(payload)
        self._out.frames.append(frames.frame(frames.SETTINGS, ACK, 0, b""))

    def _on_promise(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a client promises nothing")

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a ping is the connection's")
        if len(payload) != len(PING):
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a ping has eight bytes")
        self._lose_patience()
        if not flags & ACK:
            self._out.frames.append(frames.frame(frames.PING, ACK, 0, payload))

    def _on_goaway(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "going away is the connection's")
        self._is_leaving = True

    def _on_window(self, flags: int, stream_id: int, payload: bytes) -> None:
        more_bytes = number_of(payload, "WINDOW_UPDATE") & frames.LARGEST_WINDOW
        stream = self._streams.get(stream_id)
        if not stream_id:
            self._out.widen(more_bytes)
        elif stream is not None:
            self._out.widen_stream(stream, more_bytes)
        else:
            self._seen.check_other(stream_id)

    def _decoded(self, block: bytes) -> list[Field]:
        try:
            fields = self._decoder.decode(block)
        except (ValueError, IndexError) as error:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, f"a header block cannot be read: {error}") from error
        if self._decoder.has_changed:  # the same bytes now mean something else
            self._forget_openings()
        return fields

    def _read(self, block: bytes) -> tuple[Opening, int | None]:
        fields = self._decoded(block)
        head = request_head(fields, is_oversized=self._decoder.is_oversized)
        found = self._service.opening(head), head.content_length
        if not self._decoder.has_changed and len(block) <= MOST_BLOCK_BYTES:
            self._openings_bytes += len(block)
            if len(self._openings) >= MOST_REMEMBERED or self._openings_bytes > MOST_REMEMBERED_BYTES:
                self._forget_openings()
                self._openings_bytes = len(block)
            self._openings[block] = found
        return found

    def _forget_openings(self) -> None:
        self._openings.clear()
        self._openings_bytes = 0
