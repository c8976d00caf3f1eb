"""Runs each caretaker's loop while this process holds its lease: of all workers, one is active per name."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from core.clock import to_micros
from core.errors import DatabaseBusy, Unavailable
from core.outages import Outage
from state.database import Database
from state.leases import elect, others_end_in, resign
from state.signals import Signal
from workers.metrics import CaretakerMetrics, unseen

log = logging.getLogger(__name__)

LONGEST_BACKOFF_S = 30.0
CLOCK_STEP_S = 0.02  # just after the end of a lease, not just before


@dataclass(frozen=True, slots=True)
class Caretaker:
    """A loop of one look every `every_s`; a signal for which `hears` answers true hurries the next one."""

    name: str
    every_s: float
    look: Callable[[], Awaitable[None]]
    hears: Callable[[Signal], bool] = lambda signal: False


class Caretakers:
    """The caretakers of one process; one transaction each third of a lease renews all their leases."""

    def __init__(
        self,
        database: Database,
        caretakers: Sequence[Caretaker],
        owner: str,
        lease_s: float,
        metrics: CaretakerMetrics | None = None,
    ) -> None:
        self._metrics = metrics or unseen().care
        self._database, self._caretakers, self._owner, self._lease_s = database, caretakers, owner, lease_s
        self._elected = {caretaker.name: asyncio.Event() for caretaker in caretakers}
        self._hurried = {caretaker.name: asyncio.Event() for caretaker in caretakers}
        self._outage = Outage(log, "no caretaker can be elected")
        self._tasks: list[asyncio.Task[None]] = []
        database.subscribe(self._hear)

    def start(self) -> None:
        """Stand for election and begin the loops."""
        loops = [asyncio.create_task(self._care(each), name=each.name) for each in self._caretakers]
        self._tasks = [asyncio.create_task(self._stand(), name="election"), *loops]

    async def stop(self) -> None:
        """End the loops and let go of the leases, so that another process takes over at once."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(DatabaseBusy):
            async with self._database.write() as session:
                await resign(session, self._owner)

    async def _stand(self) -> None:
        names = [caretaker.name for caretaker in self._caretakers]
        loop = asyncio.get_running_loop()
        renewed, others_end_s = loop.time(), math.inf
        while True:
            began = loop.time()
            try:
                async with self._database.write() as session:
                    held = set(await elect(session, names, self._owner, to_micros(timedelta(seconds=self._lease_s))))
                    others_end_s = await others_end_in(session, names, self._owner)
                renewed = began
                self._outage.over()
            except DatabaseBusy as error:
                self._outage.met(error)
                held, others_end_s = self._kept(renewed), math.inf
            except Exception:
                log.exception("the caretakers' election failed and goes on")
                held, others_end_s = self._kept(renewed), math.inf
            for name, elected in self._elected.items():
                _set(elected, name in held)
                self._metrics.leader.labels(name).set(name in held)
            # Who stands by is there when the lease of a dead one ends, and not up to a third of it later.
            await asyncio.sleep(min(self._lease_s / 3, others_end_s + CLOCK_STEP_S))

    def _kept(self, renewed: float) -> set[str]:
        """What is still held without a new election: a lease that may be over is somebody else's."""
        is_over = asyncio.get_running_loop().time() > renewed + self._lease_s
        return set() if is_over else held_now(self._elected)

    async def _care(self, caretaker: Caretaker) -> None:
        elected, hurried = self._elected[caretaker.name], self._hurried[caretaker.name]
        logged: set[type[Exception]] = set()
        pause_s = caretaker.every_s
        while True:
            await elected.wait()
            hurried.clear()
            try:
                await caretaker.look()
                pause_s = caretaker.every_s
                self._metrics.looks.labels(caretaker.name).inc()
            except Unavailable as error:  # the database or the store
                pause_s = min(LONGEST_BACKOFF_S, 2 * pause_s)
                self._metrics.failures.labels(caretaker.name).inc()
                log.warning("%s: %s; the next look in %.0f s", caretaker.name, error, pause_s)
            except Exception as error:
                pause_s = min(LONGEST_BACKOFF_S, 2 * pause_s)
                self._metrics.failures.labels(caretaker.name).inc()
                if type(error) not in logged:  # once per kind: the next look meets the same
                    logged.add(type(error))
                    log.exception("%s failed and goes on", caretaker.name)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await hurried.wait()

    def _hear(self, signals: frozenset[Signal]) -> None:
        for caretaker in self._caretakers:
            if any(caretaker.hears(signal) for signal in signals):
                self._hurried[caretaker.name].set()


def held_now(elected: dict[str, asyncio.Event]) -> set[str]:
    """The names whose event is set."""
    return {name for name, event in elected.items() if event.is_set()}


def _set(event: asyncio.Event, on: bool) -> None:
    if on:
        event.set()
    else:
        event.clear()
