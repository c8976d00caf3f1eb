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
from core.ids import id_at, micros_of
from state.database import STATEMENT_S, Database
from state.queries.events import Happened, happened_since
from state.signals import Signal

log = logging.getLogger(__name__)

# Longer than a transaction lives whose last statement takes as long as one may.
OVERLAP: Final = to_micros(timedelta(seconds=STATEMENT_S + 2))
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
        if not self.has_ended:
            self.waiting += ids
            self.has_ended = len(self.waiting) > self.most_waiting
        if self.has_ended:  # its reader may not come back for long
            self.waiting.clear()
        self.told.set()


class EventFeed:
    """Tells followers the ids of their tenant's new events, each once, in the order in which they were found."""

    def __init__(self, database: Database, most_waiting: int = MOST_WAITING) -> None:
        """`most_waiting`: how many events a reader may be behind."""
        self._database, self._most_waiting = database, most_waiting
        self._poll_s = POLL_EMBEDDED_S if database.dialect == "sqlite" else POLL_S
        self._followers: set[_Follower] = set()
        self._least_id = ""  # where a look begins
        self._seen: set[str] = set()  # of those from there on
        # Nobody joins between a look and what is told of it, and one who is first has no other beside him.
        self._lock = asyncio.Lock()
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
        await self._join(follower)
        if follower.has_ended:
            return
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
            await asyncio.wait([self._task])
        for follower in self._followers:
            follower.has_ended = True
            follower.told.set()

    @property
    def waiting(self) -> int:
        """How many events wait for their readers."""
        return sum(len(follower.waiting) for follower in self._followers)

    async def _join(self, follower: _Follower) -> None:
        async with self._lock:
            if not self._is_closed and not self._followers:
                await self._prime()
            if self._is_closed:  # perhaps meanwhile
                follower.has_ended = True
                return
            self._followers.add(follower)
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._watch(), name="event feed")

    def _hear(self, signals: frozenset[Signal]) -> None:
        if self._followers and any(signal.kind == "changed" for signal in signals):
            self._hurry.set()

    async def _prime(self) -> None:
        """What has happened before is nobody's news."""
        self._least_id = id_at("evt", now_micros() - OVERLAP)
        self._seen = {each.id for each in await self._look()}

    async def _watch(self) -> None:
        while self._followers:
            self._hurry.clear()
            try:
                async with self._lock:
                    self._tell(await self._look())
            except DatabaseBusy as error:
                log.warning("the event feed could not look: %s", error)
            except Exception:
                log.exception("the event feed could not look, and tries again")
            await asyncio.sleep(SPACING_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await self._hurry.wait()

    async def _look(self) -> Sequence[Happened]:
        async with self._database.read() as session:
            return await happened_since(session, self._least_id)

    def _tell(self, found: Sequence[Happened]) -> None:
        new: dict[str, list[str]] = {}
        for each in found:
            if each.id not in self._seen:
                self._seen.add(each.id)
                new.setdefault(each.tenant_id, []).append(each.id)
        for follower in self._followers:
            if ids := new.get(follower.tenant_id):
                follower.tell(ids)
        if self._seen:  # where a process' clock is ahead, its newest says nothing about the others'
            newest = min(micros_of(max(self._seen)), now_micros())
            self._least_id = max(self._least_id, id_at("evt", newest - OVERLAP))
            self._seen = {event_id for event_id in self._seen if event_id >= self._least_id}
