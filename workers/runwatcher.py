"""Feeds what processes of runs and their inputs do into the runs' operations, takes back what an operation that ended
left behind, and begins the runs of jobs that come after another one.

Level-triggered: a signal in this process only hurries the look that comes every second anyway.
"""

import logging

from core.errors import PlatformError
from core.failpoints import failpoint
from state.advance import lock
from state.claims import wake
from state.database import Database
from state.jobtables import Run
from state.queries.runs import unfollowed
from state.running import begin_successors
from state.settling import readers, settle, unsettled
from state.signals import Signal
from workers.hearing import Heard

log = logging.getLogger(__name__)


class RunWatcher:
    """Wakes the operations of runs, settles the runs that rest, and lets others follow."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._heard = Heard("run", "run_process", "dataset")

    def hears(self, signal: Signal) -> bool:
        """Remember a run, its process, or a dataset that changed; answers whether to look now."""
        return self._heard.hears(signal)

    async def look(self) -> None:
        """Wake what waits, then settle what rests, then follow what succeeded."""
        with self._heard.taken() as changed:
            async with self._database.read() as session:
                waited_for = sorted(changed["run_process"])
                waited_for += await readers(session, changed["dataset"]) if changed["dataset"] else []
                left, successes = await unsettled(session), await unfollowed(session)
            if waited_for:
                async with self._database.write() as session:
                    await wake(session, waited_for)
            for run_id in left:
                await self._settle(run_id)
        for run_id in successes:
            await self._follow(run_id)

    async def _settle(self, run_id: str) -> None:
        async with self._database.write() as session:
            await settle(session, run_id)
            failpoint("run_before_settle")

    async def _follow(self, run_id: str) -> None:
        try:
            async with self._database.write() as session:
                await begin_successors(session, await lock(session, Run, run_id))
                failpoint("run_before_settle")
        except PlatformError as error:
            log.warning("what comes after %s cannot begin now: %s", run_id, error.message)
