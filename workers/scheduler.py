"""Fires what schedules want: looks every second for ticks whose time has come and for those that waited for a run.

One is elected; two that look at once do no harm (`state.ticking`).
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from core.errors import PlatformError
from core.failpoints import failpoint
from state.database import Database
from state.queries.schedules import due_jobs, released_jobs
from state.signals import Signal
from state.switches import read_switches
from state.ticking import decide

log = logging.getLogger(__name__)
STOPPED_BY: Final = frozenset({"schedules", "read_only"})
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
MOST_LEFT: Final = 10_000  # jobs that one query leaves out


@dataclass(frozen=True, slots=True)
class _Rest:
    """A job that could not be decided is left alone for this long, until then."""

    pause_s: float
    until: float


class Scheduler:
    """Decides the ticks of every job that has some, each job in a transaction of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._resting: dict[str, _Rest] = {}

    def hears(self, signal: Signal) -> bool:
        """Whether to look now: a run ended, and ticks may have waited for it; or a schedule is new."""
        return signal.kind == "changed" and signal.name in ("run", "job")

    async def look(self) -> None:
        """Decide what is due. Jobs that cannot be decided now do not hold up the others, however many they are."""
        resting = self._left_alone()
        async with self._database.read() as session:
            if not STOPPED_BY.isdisjoint(await read_switches(session)):
                return  # what is missed meanwhile is caught up as each schedule says
            due = await due_jobs(session, but=resting)
            found = {*due, *await released_jobs(session, but=resting)}
        for job_id in sorted(found):
            await self._decide(job_id)

    async def _decide(self, job_id: str) -> None:
        try:
            async with self._database.write() as session:
                await decide(session, job_id)
                failpoint("tick_before_commit")
        except PlatformError as error:
            log.warning("the ticks of job %s have to wait: %s", job_id, error.message)
            self._rest(job_id)
        except Exception:
            log.exception("the ticks of job %s cannot be decided; a later look tries again", job_id)
            self._rest(job_id)
        else:
            self._resting.pop(job_id, None)

    def _rest(self, job_id: str) -> None:
        before = self._resting.pop(job_id, None)
        pause_s = FIRST_PAUSE_S if before is None else min(2 * before.pause_s, LONGEST_PAUSE_S)
        self._resting[job_id] = _Rest(pause_s, asyncio.get_running_loop().time() + pause_s)

    def _left_alone(self) -> Sequence[str]:
        """The jobs that rest; one that has not been tried again for long may be gone, and is forgotten."""
        now = asyncio.get_running_loop().time()
        self._resting = {
            job_id: rest for job_id, rest in self._resting.items() if now < rest.until + 2 * LONGEST_PAUSE_S
        }
        return [job_id for job_id, rest in self._resting.items() if now < rest.until][-MOST_LEFT:]
