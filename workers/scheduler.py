"""Fires what schedules want: looks every second for ticks whose time has come and for those that waited for a run.

One is elected; two that look at once do no harm (`state.ticking`).
"""

import logging
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


class Scheduler:
    """Decides the ticks of every job that has some, each job in a transaction of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def hears(self, signal: Signal) -> bool:
        """Whether to look now: a run ended, and ticks may have waited for it; or a schedule is new."""
        return signal.kind == "changed" and signal.name in ("run", "job")

    async def look(self) -> None:
        """Decide what is due. A job that cannot be decided now does not hold up the others."""
        async with self._database.read() as session:
            if not STOPPED_BY.isdisjoint(await read_switches(session)):
                return  # what is missed meanwhile is caught up as each schedule says
            found = {*await due_jobs(session), *await released_jobs(session)}
        for job_id in sorted(found):
            await self._decide(job_id)

    async def _decide(self, job_id: str) -> None:
        try:
            async with self._database.write() as session:
                await decide(session, job_id)
                failpoint("tick_before_commit")
        except PlatformError as error:
            log.warning("the ticks of job %s have to wait: %s", job_id, error.message)
