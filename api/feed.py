"""The feed of events: everybody in this process who follows what happens shares one query.

An event's id is made before its transaction commits, so a look begins some time before the newest one that was seen.
Signals of commits hurry it; polling finds what other processes did.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from core.clock import now_micros, to_micros
from core.errors import DatabaseBusy
from core.ids import id_at
from state.database import Database
from state.queries.events import Happened, happened_since
from state.signals import Signal

log = logging.getLogger(__name__)

OVERLAP: Final = to_micros(timedelta(seconds=5))  # longer than a transaction lives
POLL_S: Final = 0.25
POLL_EMBEDDED_S: Final = 1.0  # on SQLite every commit is heard
SPACING_S: Final = 0.05
MOST_WAITING: Final = 10_000  # then a stream ends, and its reader may come again


@dataclass(eq=False, slots=True)
class _Follower:
    tenant_id: str
    most_waiting: int
    waiting: list[str] = field(default_factory=list)
    told: asyncio.Event = field(default_factory=asyncio.Event)
    has_ended: bool = False

    def tell(self, ids: Sequence[str]) -> None:
        self.waiting += ids
        self.has_ended = self.has_ended or len(self.waiting) > self.most_waiting
        self.told.set()


class EventFeed:
    """Tells followers the ids of their tenant's new events, each once, in the order in which they were found."""

    def __init__(self, database: Database, most_waiting: int = MOST_WAITING) -> None:
        """`most_waiting`: how many events a reader may be behind."""
        self._database, self._most_waiting = database, most_waiting
        self._poll_s = POLL_EMBEDDED_S if database.dialect == "sqlite" else POLL_S
        self._followers: set[_Follower] = set()
        self._seen: dict[str, int] = {}  # id → when it was made, of the last `OVERLAP`
        self._begin = 0
        self._hurry = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False
        database.subscribe(self._hear)

    async def follow(self, tenant_id: str, idle_s: float) -> AsyncGenerator[Sequence[str], None]:
        """New events as they come; nothing (an empty list) whenever none came for `idle_s`. Ends when the feed closes,
        and for a reader that is too far behind.

        The first one is empty and comes when all that is committed from now on will be told. Raises `DatabaseBusy`.
        """
        follower = _Follower(tenant_id, self._most_waiting)
        if not self._followers or self._task is None or self._task.done():
            await self._prime()
        self._followers.add(follower)
        if self._is_closed:
            return
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch(), name="event feed")
        try:
            yield ()
            while not follower.has_ended:
                with suppress(TimeoutError):
                    async with asyncio.timeout(idle_s):
                        await follower.told.wait()
                follower.told.clear()
                ids, follower.waiting = follower.waiting, []
                if not follower.has_ended:
                    yield ids
        finally:
            self._followers.discard(follower)

    async def close(self) -> None:
        """Stop looking and let everybody go."""
        self._is_closed = True
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        for follower in self._followers:
            follower.has_ended = True
            follower.told.set()

    def _hear(self, signals: frozenset[Signal]) -> None:
        if self._followers and any(signal.kind == "changed" for signal in signals):
            self._hurry.set()

    async def _prime(self) -> None:
        """What has happened before is nobody's news."""
        self._begin = now_micros() - OVERLAP
        self._seen = {each.id: each.created_at for each in await self._look()}

    async def _watch(self) -> None:
        while self._followers:
            self._hurry.clear()
            try:
                self._tell(await self._look())
            except DatabaseBusy as error:
                log.warning("the event feed could not look: %s", error)
            await asyncio.sleep(SPACING_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await self._hurry.wait()

    async def _look(self) -> Sequence[Happened]:
        async with self._database.read() as session:
            return await happened_since(session, id_at("evt", self._begin))

    def _tell(self, found: Sequence[Happened]) -> None:
        new: dict[str, list[str]] = {}
        for each in found:
            if each.id not in self._seen:
                self._seen[each.id] = each.created_at
                new.setdefault(each.tenant_id, []).append(each.id)
        for follower in self._followers:
            if ids := new.get(follower.tenant_id):
                follower.tell(ids)
        self._begin = max([self._begin, *(at - OVERLAP for at in self._seen.values())])
        self._seen = {id: at for id, at in self._seen.items() if at >= self._begin}
