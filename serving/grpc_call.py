"""One call: the messages that come on its stream, and the room that they take until they are answered.

A client may send no more than a window beyond what is of use now: a large message is let in once there is room for it,
a further one once those before it were answered.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from serving.crew import overloaded
from serving.encodings import inflated
from serving.grpc_head import CallRefused
from serving.http2.frames import DEFAULT_WINDOW
from serving.http2.outgoing import PREFIX_BYTES
from serving.http2.stream import Carrier, Stream
from serving.messages import Application, Request
from serving.problems import Problem
from serving.protocols.grpc_status import Code, code_of
from serving.protocols.oip_admin import MOST_BYTES
from serving.protocols.oip_rest import error_text
from serving.room import SMALL_BYTES

SLOWEST_BYTES_PER_S: Final = 64 * 1024  # of a message, lest one that comes by drops keeps its room from all others
FULL: Final = "there is no room for a message of this size beside those that are being answered"
LATE: Final = "the rest of the message did not come in time"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the head of a call asks for; the same for each with this head."""

    application: Application
    max_message_bytes: int
    path: bytes
    headers: Mapping[bytes, bytes]
    timeout_s: float | None = None
    coding: bytes | None = None  # of messages that are marked as compressed
    is_work: bool = False  # whether the application itself inflates them

    def request(self, message: "Message", deadline: float | None) -> Request:
        """The request for one message. Raises `CallRefused`."""
        if not message.is_coded:
            return Request(b"POST", self.path, self.headers, message.data, deadline)
        if self.coding is None:
            raise CallRefused(Code.INTERNAL, "a message is marked as compressed, and the call says not how")
        if self.is_work:
            headers = {**self.headers, b"content-encoding": self.coding}
            return Request(b"POST", self.path, headers, message.data, deadline)
        try:
            data = inflated(message.data, self.coding.decode(), MOST_BYTES)
        except Problem as problem:
            raise CallRefused(code_of(problem), error_text(problem)) from problem
        return Request(b"POST", self.path, self.headers, data, deadline)


@dataclass(slots=True)
class Message:
    """One message as it came, and what it holds: room of its own, or a part of what the connection holds."""

    data: bytes
    is_coded: bool = False
    room_bytes: int = 0
    held_bytes: int = 0


class Call(Stream):
    """Cuts what comes into messages."""

    __slots__ = (
        "_began_at",
        "_buffer",
        "_held_bytes",
        "_is_over",
        "_room_bytes",
        "_size",
        "_unread_bytes",
        "_wanted_bytes",
        "asked",
    )

    def __init__(self, connection: Carrier, stream_id: int, asked: Asked) -> None:
        super().__init__(connection, stream_id)
        self.asked = asked
        self._buffer: bytearray | None = None
        self._size = -1  # of the message that comes, once its prefix is here
        self._held_bytes = self._room_bytes = self._wanted_bytes = 0  # by what is in the buffer
        self._unread_bytes = 0  # of messages that are complete and nobody has asked for
        self._began_at = self.seen_at
        self._is_over = False  # what still comes is of no use

    @abstractmethod
    def came(self, message: Message) -> None:
        """A message is complete. Raises `CallRefused`."""

    @abstractmethod
    def fail(self, code: Code, text: str) -> None:
        """End the call with this status."""

    def received(self, data: bytes) -> None:
        """See `Stream`."""
        if self._is_over:
            return
        self.seen_at = self.connection.seen_at
        if self._buffer is None:
            self._buffer, self._began_at = bytearray(), self.seen_at
        self._buffer += data
        try:
            if not self._room_bytes:
                self._hold(len(data))
            self._cut(self._buffer)
        except CallRefused as error:
            self.fail(error.code, error.text)
            return
        self._widen()

    def gone(self) -> None:
        """See `Stream`: nothing of it is kept."""
        self._release()
        self._buffer, self._is_over = None, True

    def expire(self, now: float, request_s: float) -> None:
        """See `Stream`."""
        if self._wanted_bytes:
            if now - self._began_at > request_s:
                self.give_up(overloaded(FULL))
        elif self._buffer and self.recv_window > 0 and not self.is_sated:
            slow_s = request_s + len(self._buffer) / SLOWEST_BYTES_PER_S
            if now - self.seen_at > request_s or now - self._began_at > slow_s:
                self.give_up(Problem(408, "request_timeout", LATE))

    def give_up(self, problem: Problem) -> None:
        """End the call with what the application has to know, too."""
        error = self._refused(problem)
        self.fail(error.code, error.text)

    def _refused(self, problem: Problem) -> CallRefused:
        self.asked.application.refusal(problem)  # which may be written down
        return CallRefused(code_of(problem), error_text(problem))

    def used(self, message: Message) -> None:
        """A message is being answered: another one may come."""
        self._unread_bytes -= len(message.data) + PREFIX_BYTES
        self.connection.store.release(message.held_bytes)
        message.held_bytes = 0
        if self._buffer:
            self._began_at = self.seen_at = self.connection.loop.time()  # it was not the client that was slow
        self._widen()

    @property
    def is_in_message(self) -> bool:
        """Whether a message has begun and is not complete."""
        return bool(self._buffer)

    @property
    def is_sated(self) -> bool:
        """Whether enough messages wait to be asked for: an object for each would be larger than it."""
        return False

    def look(self) -> None:
        """Cut what was left because there was enough. Raises `CallRefused`."""
        if self._buffer:
            self._cut(self._buffer)
            self._widen()

    def _cut(self, buffer: bytearray) -> None:
        while not self.is_sated:
            if self._size < 0:
                if len(buffer) < PREFIX_BYTES:
                    return
                self._size = int.from_bytes(buffer[1:PREFIX_BYTES])
                self._check(buffer[0], self._size)
            end = PREFIX_BYTES + self._size
            if len(buffer) < end:
                if self._size > SMALL_BYTES and not self._room_bytes and not self._wanted_bytes:
                    self._ask_room()
                return
            with memoryview(buffer) as view:
                data = bytes(view[PREFIX_BYTES:end])
            is_coded, rest = bool(buffer[0]), len(buffer) - end
            del buffer[:end]
            self._size, self._began_at = -1, self.seen_at
            message = Message(data, is_coded, self._room_bytes, min(end, self._held_bytes))
            self._held_bytes -= message.held_bytes
            self._room_bytes = 0
            self._unread_bytes += end
            self.came(message)
            if message.room_bytes and rest:
                self._hold(rest)

    def _check(self, mark: int, size: int) -> None:
        most_bytes = self.asked.max_message_bytes
        if mark > 1:
            raise CallRefused(Code.INTERNAL, f"a message begins with 0 or 1, not {mark}")
        if size > most_bytes:
            detail = f"the message has {size} bytes, and {most_bytes} are allowed here"
            raise self._refused(Problem(413, "too_large", detail, hint="send fewer records at a time"))

    def _hold(self, more_bytes: int) -> None:
        if not self.connection.store.hold(more_bytes):
            raise self._refused(overloaded(FULL))
        self._held_bytes += more_bytes

    def _ask_room(self) -> None:
        """Let the client send no more of a large message than it may now, until there is room for it."""
        if self.connection.store.take(self._size, self._entered):
            self._enter(self._size)
        else:
            self._wanted_bytes = self._size

    def _entered(self) -> None:
        size, self._wanted_bytes = self._wanted_bytes, 0
        self._enter(size)
        self._began_at = self.seen_at = self.connection.loop.time()  # it was not the client that was slow
        self._widen()

    def _enter(self, size: int) -> None:
        self._room_bytes = size
        self.connection.store.release(self._held_bytes)
        self._held_bytes = 0

    def _widen(self) -> None:
        """Let the client send what is of use now."""
        if self.is_ended or not self.connection.is_open(self):
            return
        buffered = len(self._buffer) if self._buffer is not None else 0
        missing = 0 if self._size < 0 or self._wanted_bytes else self._size + PREFIX_BYTES - buffered
        more_bytes = max(DEFAULT_WINDOW - buffered - self._unread_bytes, missing) - self.recv_window
        if more_bytes > 0 and (more_bytes >= DEFAULT_WINDOW // 2 or missing > self.recv_window):
            self.connection.grant(self, more_bytes)

    def _release(self) -> None:
        """Give back what the buffer holds, and the place in the line for room."""
        store = self.connection.store
        if self._wanted_bytes:
            store.leave(self._entered)
        store.release(self._held_bytes)
        store.give_back(self._room_bytes)
        self._wanted_bytes = self._held_bytes = self._room_bytes = 0
