"""Sends wake-ups for what is due: at once when told, and by looking at the lanes, which alone would suffice.

Each worker process has its own, which looks for its own free slots: so work goes on when a broker loses everything.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dramatiq import Actor

from core.errors import DatabaseBusy
from core.failpoints import failpoint
from core.outages import Outage
from state.database import Database
from state.queries.work import Outlook, outlooks
from state.signals import Signal
from workers.metrics import WorkMetrics, unseen

log = logging.getLogger(__name__)

SPACING_S = 0.02  # at most 50 looks a second, however much is put off meanwhile
CLOCK_STEP_S = 0.002  # the database's clock counts milliseconds on SQLite: look just after, not just before


@dataclass(frozen=True, slots=True)
class Share:
    """How lanes are shared with other processes: our free slots, and how to wake somebody `elsewhere`."""

    free: Callable[[str], int]
    elsewhere: Callable[[str, str], None]


class WakeUps:
    """Sends at most one wake-up per free slot and row, from any thread; one that has not begun yet serves for more."""

    def __init__(self, slots: Mapping[str, int], metrics: WorkMetrics | None = None) -> None:
        self._slots, self._metrics = slots, metrics or unseen()
        self._share: Share | None = None
        self._actors: dict[str, Actor[[str, str], None]] = {}
        self._waiting: dict[str, set[str]] = {lane: set() for lane in slots}
        self._lock = threading.Lock()

    def attach(self, lane: str, actor: Actor[[str, str], None]) -> None:
        """Name the actor that drains a lane."""
        self._actors[lane] = actor

    def share(self, share: Share) -> None:
        """Other processes work on these lanes, too."""
        self._share = share

    def detach(self) -> None:
        """Wake nobody here any more."""
        self._actors = {}

    def has_room(self, lane: str) -> bool:
        """Whether a wake-up would begin at once."""
        if lane not in self._actors:
            return False
        free = self._slots[lane] if self._share is None else self._share.free(lane)
        return free > len(self._waiting[lane])

    def offer(self, lane: str, id: str) -> None:
        """Work was committed: wake this process, or another one where this one has no room."""
        if self._share is None or self.has_room(lane):
            self.nudge(lane, id)
        else:
            self._share.elsewhere(lane, id)

    def nudge(self, lane: str, id: str) -> None:
        """Work is due: never blocks, never raises; a lane that this process does not work on is nothing to it."""
        actor = self._actors.get(lane)
        if actor is None:
            return
        with self._lock:
            waiting = self._waiting[lane]
            # Each waiting wake-up will look after this moment and goes on until nothing is due.
            if id in waiting or len(waiting) >= self._slots[lane]:
                return
            waiting.add(id)
        failpoint("before_nudge")
        try:
            actor.send(lane, id)
            self._metrics.wake.sent.labels(lane, "here").inc()
        except Exception as error:
            self._metrics.wake.errors.labels(lane, "here").inc()
            self.began(lane, id)
            log.warning("no wake-up for %s: %s; the relay looks again", id, error)

    def began(self, lane: str, id: str) -> None:
        """A worker received the wake-up and looks now."""
        with self._lock:
            self._waiting[lane].discard(id)

    def forget(self, lane: str) -> None:
        """Wake-ups of the last interval that did not begin may be lost: they stand in nobody's way any more."""
        with self._lock:
            self._waiting[lane].clear()


class Relay:
    """Looks at each lane every `poll_s`, when the next row falls due, and when a commit in this process says so."""

    def __init__(
        self,
        database: Database,
        wakeups: WakeUps,
        free: Callable[[str], int],
        poll_s: float,
        metrics: WorkMetrics | None = None,
    ) -> None:
        self._database, self._wakeups, self._free, self._poll_s = database, wakeups, free, poll_s
        self._metrics = metrics or unseen()
        self._later = asyncio.Event()
        self._outage = Outage(log, "the relay cannot look")
        database.subscribe(self._hear)

    async def run(self, lanes: list[str]) -> None:
        """Look for ever."""
        loop = asyncio.get_running_loop()
        looked = float("-inf")
        while True:
            await asyncio.sleep(max(0.0, looked + SPACING_S - loop.time()))
            self._later.clear()
            looked = loop.time()
            pause_s = await self._look(lanes)
            try:
                async with asyncio.timeout(pause_s):
                    await self._later.wait()
            except TimeoutError:
                if pause_s == self._poll_s:
                    for lane in lanes:
                        self._wakeups.forget(lane)

    async def _look(self, lanes: list[str]) -> float:
        """Send what is due; answers the seconds until the next look."""
        try:
            async with self._database.read() as session:
                seen = await outlooks(session, {lane: self._free(lane) for lane in lanes})
            failpoint("relay_before_send")
            for lane, found in seen.items():
                for id in found.due:
                    self._wakeups.nudge(lane, id)
        except DatabaseBusy as error:
            self._metrics.relay_errors.inc()
            self._outage.met(error)
            return self._poll_s
        except Exception:  # without this loop nothing that waits for its time is ever done
            self._metrics.relay_errors.inc()
            log.exception("the relay failed and goes on")
            return self._poll_s
        self._outage.over()
        return min([self._poll_s, *map(_seconds_to_next, seen.values())])

    def _hear(self, signals: frozenset[Signal]) -> None:
        for signal in signals:
            if signal.kind == "work":
                self._wakeups.offer(signal.name, signal.id)
            elif signal.kind == "later":
                self._later.set()


def _seconds_to_next(found: Outlook) -> float:
    if found.next_in_micros is None:
        return float("inf")
    return max(0.0, found.next_in_micros / 1_000_000) + CLOCK_STEP_S
