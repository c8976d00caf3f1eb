"""The waiter hub: everybody in this process who waits for a row shares one query (ARCHITECTURE.md section 5).

Who comes, and whose row a commit has changed, is looked after at once and alone. Polling finds what was not heard: it
asks for the rows' sequences, which say whether a status changed, and reads the few rows that did.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from core.errors import DatabaseBusy
from state.database import Database
from state.queries.rows import by_ids, sequences
from state.signals import Signal
from state.tables import Claimable, Resource

log = logging.getLogger(__name__)

Row = TypeVar("Row", bound=Claimable | Resource)
POLL_S = 0.05
# SQLite has one process and so every commit is heard; polling at the full rate would cost 10 % of a core.
POLL_EMBEDDED_S = 0.5


@dataclass(eq=False, slots=True)
class _Waiter:
    table: type[Any]  # of a Claimable or a Resource
    id: str
    is_over: Callable[[Any], bool]
    future: asyncio.Future[Any]
    sequence: int | None = None  # the row's when it was last judged


class WaiterHub:
    """Waits for rows to become what somebody wants; a waiter that goes away takes nothing but itself."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._poll_s = POLL_EMBEDDED_S if database.dialect == "sqlite" else POLL_S
        self._waiters: set[_Waiter] = set()
        self._urgent: set[str] = set()  # ids of rows to look at without waiting for the next poll
        self._hurry = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False
        database.subscribe(self._hear)

    async def wait(self, table: type[Row], row_id: str, until: Callable[[Row], bool], timeout_s: float) -> Row | None:
        """The row as soon as `until` holds for it, else as it is after `timeout_s`.

        `until` may ask for what changes with the status, and for nothing else. None when there is no such row, and at
        once when the hub closes. Raises `DatabaseBusy`.
        """
        if self._is_closed:
            return None
        waiter = _Waiter(table, row_id, until, asyncio.get_running_loop().create_future())
        self._waiters.add(waiter)
        self._urgent.add(row_id)
        self._hurry.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch(), name="waiter hub")
        try:
            async with asyncio.timeout(max(timeout_s, 0)):
                found: Row | None = await waiter.future
                return found
        except TimeoutError:
            pass
        finally:
            self._waiters.discard(waiter)
        async with self._database.read() as session:
            return (await by_ids(session, table, [row_id])).get(row_id)

    async def wait_final(self, table: type[Row], row_id: str, finals: Collection[str], timeout_s: float) -> Row | None:
        """Wait until the row's status is one of `finals`."""
        return await self.wait(table, row_id, lambda row: getattr(row, "status", None) in finals, timeout_s)

    async def close(self) -> None:
        """Stop looking and let everybody go."""
        self._is_closed = True
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        for waiter in self._waiters:
            _answer(waiter, None)

    def _hear(self, signals: frozenset[Signal]) -> None:
        changed = {signal.id for signal in signals if signal.kind == "changed"}
        if changed and (awaited := changed.intersection(waiter.id for waiter in self._waiters)):
            self._urgent |= awaited
            self._hurry.set()

    async def _watch(self) -> None:
        next_poll = time.monotonic() + self._poll_s
        while self._waiters:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, next_poll - time.monotonic())):
                    await self._hurry.wait()
            self._hurry.clear()
            urgent, self._urgent = self._urgent, set()
            is_poll = time.monotonic() >= next_poll
            try:
                await self._look([waiter for waiter in self._waiters if is_poll or waiter.id in urgent], urgent)
            except DatabaseBusy as error:
                log.warning("waiters could not look: %s", error)
            if is_poll:
                next_poll = time.monotonic() + self._poll_s

    async def _look(self, waiters: Sequence[_Waiter], urgent: Collection[str]) -> None:
        if not waiters:
            return
        async with self._database.read() as session:
            for table in {waiter.table for waiter in waiters}:
                of_table = [waiter for waiter in waiters if waiter.table is table]
                rest = sorted({waiter.id for waiter in of_table if waiter.id not in urgent})
                found = await sequences(session, table, rest) if rest else {}
                news = [waiter for waiter in of_table if waiter.id in urgent or found.get(waiter.id) != waiter.sequence]
                rows = await by_ids(session, table, sorted({waiter.id for waiter in news})) if news else {}
                for waiter in news:
                    row = rows.get(waiter.id)
                    if row is None or waiter.is_over(row):
                        _answer(waiter, row)
                    else:
                        waiter.sequence = row.sequence


def _answer(waiter: _Waiter, row: Claimable | Resource | None) -> None:
    if not waiter.future.done():
        waiter.future.set_result(row)
