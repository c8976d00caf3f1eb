"""One stream as its connection knows it: its windows, what waits to be sent, and whether its client has said all."""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from typing import Protocol

from serving.http2.faults import ErrorCode
from serving.http2.fields import RequestHead
from serving.http2.frames import DEFAULT_WINDOW
from serving.http2.store import Store

Piece = bytes | memoryview


class Carrier(Protocol):
    """A connection as its streams know it. `seen_at` is when its client was last heard of, by the loop's clock."""

    loop: asyncio.AbstractEventLoop
    store: Store
    seen_at: float

    @property
    def first_window(self) -> int:
        """How much may be sent on a new stream."""
        ...

    @property
    def is_congested(self) -> bool:
        """Whether the client leaves so many answers waiting that no more are made."""
        ...

    def is_open(self, stream: "Stream") -> bool:
        """Whether it has not ended."""
        ...

    def enqueue(self, stream: "Stream", *, is_urgent: bool) -> None:
        """Run a stream in its turn; an urgent one also while the client leaves answers waiting."""
        ...

    def answer(self, stream: "Stream", head: bytes, message: bytes, trailers: bytes) -> None:
        """Send a head, one message of gRPC, and trailers, which end the stream."""
        ...

    def begin(self, stream: "Stream", head: bytes) -> None:
        """Send a head."""
        ...

    def write(self, stream: "Stream", message: bytes) -> None:
        """Send one message of gRPC, as soon as the client takes it."""
        ...

    def finish(self, stream: "Stream", trailers: bytes, data: bytes = b"") -> None:
        """End a stream with some data and a block, behind what it still has to send."""
        ...

    def grant(self, stream: "Stream", more_bytes: int) -> None:
        """Let the client send more on a stream."""
        ...

    def reset(self, stream_id: int, code: ErrorCode) -> None:
        """End a stream, and tell nothing more of it."""
        ...


class Stream(ABC):
    """What a stream carries is known to those that derive from it; they write by way of the connection."""

    __slots__ = (
        "bytes_left",
        "connection",
        "id",
        "is_ended",
        "is_in_turn",
        "pending",
        "pending_bytes",
        "recv_window",
        "seen_at",
        "send_window",
        "stuck_at",
        "trailers",
    )

    def __init__(self, connection: Carrier, stream_id: int) -> None:
        self.connection, self.id = connection, stream_id
        self.recv_window, self.send_window = DEFAULT_WINDOW, connection.first_window
        self.bytes_left: int | None = None  # of the body, where that was said
        self.is_ended = False  # the client has said all
        self.is_in_turn = False  # among those that are written
        self.pending: deque[Piece] | None = None  # to be sent as soon as the windows allow
        self.pending_bytes = 0
        self.trailers: bytes | None = None  # to be sent behind that
        self.seen_at = self.stuck_at = connection.seen_at

    def opened(self) -> None:  # noqa: B027  (most do nothing then)
        """It is among those that are open."""

    @abstractmethod
    def received(self, data: bytes) -> None:
        """Some of the body came."""

    @abstractmethod
    def ended(self) -> None:
        """The client has said all."""

    @abstractmethod
    def gone(self) -> None:
        """Nobody is there any more: not to be written to."""

    def run(self) -> None:  # noqa: B027  (most do nothing then)
        """Do what the stream stood in line for, if it does that."""

    def drained(self) -> None:  # noqa: B027  (most do nothing then)
        """All that was to be sent is on its way."""

    def stop(self) -> None:  # noqa: B027  (most do nothing then)
        """The server stops: what need not be waited for ends now."""

    def expire(self, now: float, request_s: float) -> None:  # noqa: B027  (most do nothing then)
        """Give up on a client that stopped in the middle of what it has to say."""

    def take(self, most_bytes: int) -> Piece:
        """The next bytes to be sent, not more than these."""
        assert self.pending
        piece = self.pending[0]
        if len(piece) <= most_bytes:
            self.pending.popleft()
        else:
            whole = memoryview(piece)
            piece, self.pending[0] = whole[:most_bytes], whole[most_bytes:]
        self.pending_bytes -= len(piece)
        return piece


class Opening(Protocol):
    """What a request's head asks for; the same for each request with this head."""

    def open(self, connection: Carrier, stream_id: int) -> Stream:
        """The stream of one such request."""
        ...


class Service(Protocol):
    """What a connection's streams are for."""

    def opening(self, head: RequestHead) -> Opening:
        """What a request with this head asks for."""
        ...
