"""How many predictions of one service are under way at once in this process; a few more wait in line for a moment.

Without a limit one slow service would take the memory and the connections of all others.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from core.errors import Unavailable

LONGEST_WAIT_S: Final = 1.0


class TooBusy(Unavailable):
    """The service has as many predictions under way as it may have."""

    code, title = "service_busy", "The service is busy"


@dataclass(slots=True)
class _Line:
    """One service's."""

    under_way: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)


class Turns:
    """Turns of all services; as many as may be under way may wait."""

    def __init__(self, most: int, longest_wait_s: float = LONGEST_WAIT_S) -> None:
        self._most, self._longest_wait_s = most, longest_wait_s
        self._lines: dict[str, _Line] = {}

    def take_now(self, service_id: str) -> bool:
        """Take a turn if one is free and nobody waits for it; `give` it back."""
        line = self._lines.get(service_id)
        if line is None:
            line = self._lines[service_id] = _Line()
        if line.under_way >= self._most:
            return False
        line.under_way += 1
        return True

    def give(self, service_id: str) -> None:
        """Give a turn back, which goes to who waits longest."""
        line = self._lines[service_id]
        while line.waiting:
            if not (first := line.waiting.popleft()).done():
                first.set_result(None)
                return
        line.under_way -= 1
        if not line.under_way:
            del self._lines[service_id]

    @asynccontextmanager
    async def turn(self, service_id: str, name: str) -> AsyncIterator[None]:
        """Hold a turn, waiting for it for a moment. Raises `TooBusy`."""
        if not self.take_now(service_id):
            await self._wait(service_id, name)
        try:
            yield
        finally:
            self.give(service_id)

    async def _wait(self, service_id: str, name: str) -> None:
        line, mine = self._lines[service_id], asyncio.get_running_loop().create_future()
        if len(line.waiting) >= self._most:
            raise self._too_busy(name, "and as many wait")
        line.waiting.append(mine)
        is_mine = False
        try:
            async with asyncio.timeout(self._longest_wait_s):
                await mine
            is_mine = True
        except TimeoutError as error:
            raise self._too_busy(name, f"and none has ended within {self._longest_wait_s:g} s") from error
        finally:
            if not is_mine:
                self._leave(service_id, line, mine)

    def _leave(self, service_id: str, line: _Line, mine: asyncio.Future[None]) -> None:
        if mine.done() and not mine.cancelled():
            self.give(service_id)  # it was handed to us as we left
        elif mine in line.waiting:
            line.waiting.remove(mine)

    def _too_busy(self, name: str, and_what: str) -> TooBusy:
        return TooBusy(
            f"service '{name}' has {self._most} predictions under way here (PORTSIDE_SERVICE_CONCURRENCY) {and_what}; "
            "try again in a second"
        )
