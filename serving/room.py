"""How many bytes of request bodies this process holds at once: who finds no room waits, unread, until there is some."""

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

# Smaller bodies are not counted: how many of them there may be is bounded elsewhere.
SMALL_BYTES: Final = 64 * 1024
SMALL_DIGITS: Final = len(str(SMALL_BYTES))  # a shorter length is small, without a look at what it says


class Budget:
    """Counts the bytes that bodies became when threads inflated them; who finds no room is told so. Thread-safe."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes, self._lock = most_bytes, threading.Lock()
        self.taken_bytes = 0

    @contextmanager
    def share(self) -> Iterator[Callable[[int], bool]]:
        """For one body: a function that takes so many bytes more and tells whether they were there, until the end.

        As in a `Room`, small ones are free, and one that is alone may take more than all.
        """
        grown_bytes = held_bytes = 0

        def take(more_bytes: int) -> bool:
            nonlocal grown_bytes, held_bytes
            grown_bytes += more_bytes
            if grown_bytes <= SMALL_BYTES:
                return True
            with self._lock:
                wanted_bytes = self.taken_bytes - held_bytes + grown_bytes
                if self.taken_bytes > held_bytes and wanted_bytes > self._most_bytes:
                    return False
                self.taken_bytes, held_bytes = wanted_bytes, grown_bytes
            return True

        try:
            yield take
        finally:
            with self._lock:
                self.taken_bytes -= held_bytes


class Room:
    """Counts the bytes that large bodies hold. Lives on the loop."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self.taken_bytes = 0
        self._line: deque[tuple[int, Callable[[], None]]] = deque()

    @property
    def waiting(self) -> int:
        """How many wait for room."""
        return len(self._line)

    def take(self, size_bytes: int) -> bool:
        """Take this much at once, if it is there. A body larger than all of it finds room when it is alone."""
        if self._line or not self._has(size_bytes):
            return False
        self.taken_bytes += size_bytes
        return True

    def wait(self, size_bytes: int, taken: Callable[[], None]) -> None:
        """Stand in line; `taken` is called once this much was taken."""
        self._line.append((size_bytes, taken))

    def leave(self, taken: Callable[[], None]) -> None:
        """Wait no longer."""
        self._line = deque(each for each in self._line if each[1] != taken)
        self._let_in()

    def keep(self, owner: object, size_bytes: int) -> None:
        """Keep what was taken for as long as its owner is in memory, also where nobody waits for an answer any more."""
        loop = asyncio.get_running_loop()

        def gone() -> None:
            with suppress(RuntimeError):  # the loop is closed, perhaps just now: nobody counts any more
                loop.call_soon_threadsafe(self.give_back, size_bytes)

        weakref.finalize(owner, gone)

    def give_back(self, size_bytes: int) -> None:
        """Give back what was taken."""
        self.taken_bytes -= size_bytes
        self._let_in()

    def _has(self, size_bytes: int) -> bool:
        return not self.taken_bytes or self.taken_bytes + size_bytes <= self._most_bytes

    def _let_in(self) -> None:
        while self._line and self._has(self._line[0][0]):
            size_bytes, taken = self._line.popleft()
            self.taken_bytes += size_bytes
            taken()
