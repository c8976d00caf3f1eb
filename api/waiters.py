"""The waiter hub: everybody in this process who waits for a row shares one query (ARCHITECTURE.md section 5).

Signals of commits in this process hurry it; polling finds what other processes did.
"""

import asyncio
import logging
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from core.errors import DatabaseBusy
from state.database import Database
from state.queries.rows import by_ids
from state.signals import Signal
from state.tables import Owned

log = logging.getLogger(__name__)

Row = TypeVar("Row", bound=Owned)
POLL_S = 0.05
# SQLite has one process and so every commit is heard; polling at the full rate would cost 10 % of a core.
POLL_EMBEDDED_S = 0.5


@dataclass(eq=False, slots=True)
class _Waiter:
    table: type[Owned]
    id: str
    is_over: Callable[[Any], bool]
    future: asyncio.Future[Any]
    seen: Any = None


class WaiterHub:
    """Waits for rows to become what somebody wants; a waiter that goes away takes nothing but itself."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._poll_s = POLL_EMBEDDED_S if database.dialect == "sqlite" else POLL_S
        self._waiters: set[_Waiter] = set()
        self._hurry = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False
        database.subscribe(self._hear)

    async def wait(self, table: type[Row], row_id: str, until: Callable[[Row], bool], timeout_s: float) -> Row | None:
        """The row as soon as `until` holds for it, else as it is after `timeout_s`.

        None when there is no such row, and at once when the hub closes. Raises `DatabaseBusy`.
        """
        if self._is_closed:
            return None
        waiter = _Waiter(table, row_id, until, asyncio.get_running_loop().create_future())
        self._waiters.add(waiter)
        self._hurry.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch(), name="waiter hub")
        try:
            async with asyncio.timeout(max(timeout_s, 0)):
                found: Row | None = await waiter.future
                return found
        except TimeoutError:
            if waiter.seen is not None:
                last: Row = waiter.seen
                return last
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
        if changed and any(waiter.id in changed for waiter in self._waiters):
            self._hurry.set()

    async def _watch(self) -> None:
        while self._waiters:
            self._hurry.clear()
            try:
                await self._look()
            except DatabaseBusy as error:
                log.warning("waiters could not look: %s", error)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await self._hurry.wait()

    async def _look(self) -> None:
        waiters = list(self._waiters)
        async with self._database.read() as session:
            for table in {waiter.table for waiter in waiters}:
                of_table = [waiter for waiter in waiters if waiter.table is table]
                rows = await by_ids(session, table, sorted({waiter.id for waiter in of_table}))
                for waiter in of_table:
                    waiter.seen = rows.get(waiter.id)
                    if waiter.seen is None or waiter.is_over(waiter.seen):
                        _answer(waiter, waiter.seen)


def _answer(waiter: _Waiter, row: Owned | None) -> None:
    if not waiter.future.done():
        waiter.future.set_result(row)
