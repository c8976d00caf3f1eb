"""A connection's way out for a thread that has an answer: it writes it itself, and the loop need not wake for that.

Only while the loop, for its part, writes nothing: from when a request is handed over until its answer is taken up.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Sized
from contextlib import suppress
from typing import TypeVar

from serving.parser import LARGE_BYTES

T = TypeVar("T")


class Outlet:
    """Of one connection. The loop opens and closes it; a thread sends."""

    def __init__(self, descriptor: int, line: Sized) -> None:
        """`line` is what else of the client's waits for its turn. Raises `OSError` where no descriptor is left."""
        # Its own: the loop may close the other at any time, and another client gets its number then.
        self._descriptor, self._line, self._lock = os.dup(descriptor), line, threading.Lock()
        self.connection, self.has_sent = b"", False
        self.settle: Callable[[], None] = lambda: None  # lets whoever sends tell the loop of it

    def begin(self, connection: bytes) -> None:
        """Whoever has it may send one response, with this `Connection` header; the loop writes nothing meanwhile."""
        self.connection, self.has_sent = connection, False

    @property
    def is_waited_for(self) -> bool:
        """Whether the loop has more to do here as soon as this is answered."""
        return len(self._line) > 0

    def send(self, data: bytes) -> bytes | memoryview | None:
        """Write as much of a whole response as the client's side takes; what is left over. `None` where nothing is
        sent, as the connection is to end, of which its last answer tells."""
        rest = memoryview(data)  # made before a byte is sent, behind which nothing may fail
        with self._lock:
            if self._descriptor < 0:
                return None
            sent = self._write(data)
        left = b"" if sent == len(data) else rest[sent:]
        self.has_sent = True
        return left

    def _write(self, data: bytes) -> int:
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            return 0
        except OSError:
            return len(data)  # the loop hears of that by itself

    def close(self) -> None:
        """Nothing more is sent here: the connection is lost, or about to end, of which an answer tells."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1


class Lending:
    """The outlet of one connection, from when it is first needed. Lives on the loop."""

    def __init__(self, line: Sized) -> None:
        """`line` is what else of the client's waits for its turn."""
        self._line = line
        self._outlet: Outlet | None = None

    def lent(self, body_bytes: int, connection: bytes, transport: asyncio.Transport | None) -> Outlet | None:
        """A way out for who answers a large request, with this `Connection` header; none where what was written before
        is still to be sent, or nothing may come after it."""
        if body_bytes < LARGE_BYTES or connection == b"close" or transport is None:
            return None
        if self._outlet is None:
            self._open(transport)
        if self._outlet is None or transport.get_write_buffer_size():
            return None
        self._outlet.begin(connection)
        return self._outlet

    def _open(self, transport: asyncio.Transport) -> None:
        connected = transport.get_extra_info("socket")
        if connected is not None:
            with suppress(OSError):  # no descriptor is left: the loop writes
                self._outlet = Outlet(connected.fileno(), self._line)

    def take_up(self, answer: asyncio.Future[T] | None, finished: Callable[[asyncio.Future[T]], None]) -> None:
        """Call `finished`, which waits for the answer, at once, if a thread has sent that already."""
        outlet = self._outlet
        if outlet is None or answer is None or not outlet.has_sent:
            return
        answer.remove_done_callback(finished)  # it need not go through the loop
        outlet.settle()
        if answer.done():
            outlet.has_sent = False
            finished(answer)
        else:  # it will be told in a moment
            answer.add_done_callback(finished)

    def close(self, answer: asyncio.Future[T] | None, finished: Callable[[asyncio.Future[T]], None]) -> None:
        """Lend nothing more, as the connection is to end, and take up what was sent before."""
        if self._outlet is not None:
            self._outlet.close()
            self.take_up(answer, finished)
