"""What one connection holds of messages that are not complete or wait for their turn, as part of the room for bodies.

Large messages take room each by itself, before they are read. Small ones share some that a connection has for nothing,
and take more in large steps, so that a thousand of them are bounded, too.
"""

from collections.abc import Callable
from typing import Final

from serving.room import Room

FREE_BYTES: Final = 1024 * 1024
STEP_BYTES: Final = 1024 * 1024


class Store:
    """Counts for one connection. Lives on the loop."""

    def __init__(self, room: Room | None) -> None:
        self._room = room
        self._held_bytes, self._stepped_bytes = 0, 0

    def hold(self, more_bytes: int) -> bool:
        """So many bytes more are held; False where there is no room for them."""
        held_bytes = self._held_bytes + more_bytes
        if self._room is not None and held_bytes > FREE_BYTES + self._stepped_bytes:
            if not self._room.take(STEP_BYTES):
                return False
            self._stepped_bytes += STEP_BYTES
        self._held_bytes = held_bytes
        return True

    def release(self, fewer_bytes: int) -> None:
        """So many are not held any more."""
        self._held_bytes -= fewer_bytes
        while self._stepped_bytes and self._held_bytes <= self._stepped_bytes - STEP_BYTES:
            self._give_back(STEP_BYTES)
            self._stepped_bytes -= STEP_BYTES

    def close(self) -> None:
        """Nothing is held any more."""
        stepped_bytes, self._held_bytes, self._stepped_bytes = self._stepped_bytes, 0, 0
        self.give_back(stepped_bytes)

    def take(self, size_bytes: int, taken: Callable[[], None]) -> bool:
        """Room for a large message; False where it has to be waited for: `taken` is called once it was taken."""
        if self._room is None or self._room.take(size_bytes):
            return True
        self._room.wait(size_bytes, taken)
        return False

    def leave(self, taken: Callable[[], None]) -> None:
        """Wait no longer."""
        if self._room is not None:
            self._room.leave(taken)

    def give_back(self, size_bytes: int) -> None:
        """Give back what `take` took."""
        if size_bytes:
            self._give_back(size_bytes)

    def keep(self, owner: object, size_bytes: int) -> None:
        """Keep the room for as long as its owner is in memory, also where nobody waits for an answer any more."""
        if self._room is not None and size_bytes:
            self._room.keep(owner, size_bytes)

    def _give_back(self, size_bytes: int) -> None:
        if self._room is not None:
            self._room.give_back(size_bytes)
