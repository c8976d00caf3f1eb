"""The streams of one connection: those that are open, those that wait for their turn, and what they send.

Streams that have all they need stand in a line and are run some at a time, so that other connections get their turn;
while a client does not read its answers, nothing more is read from it.
"""

import asyncio
from collections import deque
from contextlib import suppress
from typing import Final

from serving.http2 import frames
from serving.http2.faults import ConnectionFault, ErrorCode
from serving.http2.outgoing import Outgoing
from serving.http2.patience import Patience
from serving.http2.seen import SeenStreams
from serving.http2.store import Store
from serving.http2.stream import Stream
from serving.room import Room

TURN: Final = 16  # streams that are run before others get the loop
# Of answers that a client does not take, before no more are made; but for a few, lest a large one holds up all others.
MOST_WAITING_BYTES: Final = 1024 * 1024
MOST_WAITING: Final = 4
LINGER_S: Final = 1.0  # for a client to read why its connection ends
STALL_S: Final = 120.0  # that an answer waits for a client which takes nothing of it
QUIET_S: Final = 60.0  # without a word while streams are open, before we ask whether anybody is there
PING: Final = b"portside"  # eight bytes that come back


class Streams:
    """What the streams of a connection know of it, and how they write."""

    def __init__(self, room: Room | None) -> None:
        self.loop = asyncio.get_running_loop()
        self.seen_at = self._asked_at = self._stuck_at = self.loop.time()
        self.closed: asyncio.Future[None] = self.loop.create_future()
        self.store = Store(room)
        self._streams: dict[int, Stream] = {}
        self._line, self._urgent = deque[Stream](), deque[Stream]()
        self._out, self._seen, self._patience = Outgoing(self._streams), SeenStreams(), Patience(self.seen_at)
        self._transport: asyncio.Transport | None = None
        self._can_write = True
        self._is_at_work = False  # what is written goes out at the end of that
        self._is_leaving = False  # takes no further stream
        self._is_over = False  # nothing is read any more
        self._is_called = False  # the line goes on in the loop's next turn

    @property
    def first_window(self) -> int:
        """How much may be sent on a new stream."""
        return self._out.first_window

    @property
    def is_congested(self) -> bool:
        """Whether the client leaves so many answers waiting that no more are made."""
        return self._out.waiting_bytes >= MOST_WAITING_BYTES and self._out.waiting > MOST_WAITING

    # Streams call these.

    @property
    def is_busy(self) -> bool:
        """Whether there are open streams."""
        return bool(self._streams)

    @property
    def is_blocked(self) -> bool:
        """Whether the client leaves unread what was written."""
        return not self._can_write

    def is_open(self, stream: Stream) -> bool:
        """Whether it has not ended."""
        return stream.id in self._streams

    def enqueue(self, stream: Stream, *, is_urgent: bool) -> None:
        """Run a stream in its turn; an urgent one also while the client leaves answers waiting."""
        (self._urgent if is_urgent else self._line).append(stream)

    def answer(self, stream: Stream, head: bytes, message: bytes, trailers: bytes) -> None:
        """Send a head, one message of gRPC, and trailers, which end the stream."""
        if self._out.whole(stream, head, message, trailers):
            self._finished(stream)
            self._flush()
        else:
            self._out.block(stream, head)
            self._out.message(stream, message)
            self.finish(stream, trailers)

    def begin(self, stream: Stream, head: bytes) -> None:
        """Send a head."""
        self._out.block(stream, head)

    def write(self, stream: Stream, message: bytes) -> None:
        """Send one message of gRPC, as soon as the client takes it."""
        if stream.id in self._streams:
            self._out.message(stream, message)
            self._flush()

    def finish(self, stream: Stream, trailers: bytes, data: bytes = b"") -> None:
        """End a stream with some data and a block, behind what it still has to send."""
        if stream.id not in self._streams:
            return
        if data:
            self._out.data(stream, data)
        if stream.pending:
            stream.trailers = trailers
        else:
            self._out.block(stream, trailers, is_last=True)
            self._finished(stream)
        self._flush()

    def grant(self, stream: Stream, more_bytes: int) -> None:
        """Let the client send more on a stream."""
        stream.recv_window += more_bytes
        self._out.frames.append(frames.window_update(stream.id, more_bytes))
        self._flush()

    def reset(self, stream_id: int, code: ErrorCode) -> None:
        """End a stream, and tell nothing more of it."""
        self._out.frames.append(frames.reset(stream_id, code))
        self._seen.leave(stream_id)
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._drop(stream)
            stream.gone()
        self._flush()

    # The server calls these.

    def drain(self) -> None:
        """Take no further stream, and close once those that there are have ended."""
        if self._is_over:
            return
        self._is_leaving = True
        self._out.frames.append(frames.goaway(self._seen.last_id, ErrorCode.NO_ERROR))
        for stream in tuple(self._streams.values()):
            stream.stop()
        self._flush()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def _look_around(self, now: float, request_s: float, idle_s: float) -> None:
        """Give up on what does not go on: an answer that nobody takes, a request without its rest, a silent client."""
        silent_s = now - self.seen_at
        if self._is_over or (not self._can_write and now - self._stuck_at > STALL_S):
            self.abort()
        elif not self._streams:
            if silent_s > idle_s:
                self.drain()
        elif silent_s > QUIET_S:
            if self._asked_at > self.seen_at and now - self._asked_at > request_s:
                self.abort()
            elif self._asked_at <= self.seen_at:
                self._asked_at = now
                self._out.frames.append(frames.frame(frames.PING, 0, 0, PING))
                self._flush()
        for stream in tuple(self._streams.values()):
            if stream.pending and now - stream.stuck_at > STALL_S:
                self.reset(stream.id, ErrorCode.CANCEL)
            elif self._can_write:  # else we do not read what it says
                stream.expire(now, request_s)
        self._advance()

    # Within the connection.

    def _advance(self) -> None:
        """Run those in the line, until the client has to take answers first or others have their turn."""
        transport = self._transport
        self._is_at_work, left = True, TURN
        try:
            while left and (line := self._next_line()):
                left -= 1
                line.popleft().run()
        finally:
            self._is_at_work = False
        self._flush()
        if transport is None or self._is_over:
            return
        if self._next_line():
            transport.pause_reading()
            if not self._is_called:
                self._is_called = True
                self.loop.call_soon(self._go_on)
        elif self._can_write and not transport.is_reading() and not transport.is_closing():
            transport.resume_reading()

    def _next_line(self) -> deque[Stream] | None:
        """The line whose first is run next, if any may be."""
        if not self._can_write:
            return None
        return self._urgent or (self._line if self._line and not self.is_congested else None)

    def _go_on(self) -> None:
        self._is_called = False
        self._advance()

    def _flush(self) -> None:
        """Write what may be written now."""
        transport, out = self._transport, self._out
        if self._is_at_work or self._is_over or transport is None:
            return
        while True:
            if self._can_write:
                self._is_at_work = True
                for stream in out.fill():
                    self._sent(stream)
                self._is_at_work = False
            if out.frames:
                data = b"".join(out.frames)
                out.frames.clear()
                transport.write(data)
            if not self._can_write or not out.may_go_on:
                break
        if self._is_leaving and not self._streams and not self._is_over:
            self._hang_up()

    def _sent(self, stream: Stream) -> None:
        if stream.trailers is None:
            stream.drained()
        else:
            self._out.block(stream, stream.trailers, is_last=True)
            self._finished(stream)

    def _finished(self, stream: Stream) -> None:
        """All of it is answered; the client may not be done, which is of no use any more."""
        del self._streams[stream.id]
        self._patience.answered += 1
        if not stream.is_ended:
            self._out.frames.append(frames.reset(stream.id, ErrorCode.NO_ERROR))
            self._seen.leave(stream.id)

    def _drop(self, stream: Stream) -> None:
        del self._streams[stream.id]
        self._out.forget(stream)
        for line in (self._line, self._urgent):
            with suppress(ValueError):
                line.remove(stream)

    def _lose_patience(self) -> None:
        if self._patience.tries(self.seen_at):
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too much that asks nothing: pings, resets and the like")

    def _abandon(self) -> None:
        """No stream will be heard of again."""
        self._is_over = True
        self._line.clear()
        self._urgent.clear()
        for stream in tuple(self._streams.values()):
            self._drop(stream)
            stream.gone()

    def _fail(self, fault: ConnectionFault) -> None:
        self._abandon()
        self._out.frames.append(frames.goaway(self._seen.last_id, fault.code, fault.text))
        self._hang_up()

    def _hang_up(self) -> None:
        """Close once the client has had time to read why: the kernel resets who still sends."""
        transport, self._is_over = self._transport, True
        if transport is None or transport.is_closing():
            return
        if self._out.frames:
            transport.write(b"".join(self._out.frames))
            self._out.frames.clear()
        with suppress(OSError):  # the client may have gone
            transport.write_eof()
        self.loop.call_later(LINGER_S, transport.close)
        if not transport.is_reading():
            transport.resume_reading()  # and drop it
