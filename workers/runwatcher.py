"""Feeds what the processes of runs do into their operations, and takes back what an operation that ended left behind.

Level-triggered: a signal in this process only hurries the look that comes every second anyway.
"""

from core.failpoints import failpoint
from state.claims import wake
from state.database import Database
from state.settling import settle, unsettled
from state.signals import Signal

MOST_REMEMBERED = 10_000


class RunWatcher:
    """Wakes the operations of runs whose processes changed, and settles the runs that rest."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._changed: set[str] = set()

    def hears(self, signal: Signal) -> bool:
        """Remember a run whose process changed; answers whether to look now."""
        if signal.kind != "changed" or signal.name not in ("run", "run_process"):
            return False
        if signal.name == "run_process" and len(self._changed) < MOST_REMEMBERED:
            self._changed.add(signal.id)
        return True

    async def look(self) -> None:
        """Wake what waits, then settle what rests."""
        changed, self._changed = self._changed, set()
        if changed:
            async with self._database.write() as session:
                await wake(session, sorted(changed))
        async with self._database.read() as session:
            left = await unsettled(session)
        for run_id in left:
            async with self._database.write() as session:
                await settle(session, run_id)
                failpoint("run_before_settle")
