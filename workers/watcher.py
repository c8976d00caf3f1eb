"""Feeds what replicas do into the services: `degrade`, `recover`, and waking the operations that wait for them.

Level-triggered: a signal in this process only hurries the look that comes every second anyway.
"""

from state.advance import advance, lock
from state.claims import wake
from state.database import Database
from state.history import By
from state.queries.watching import out_of_step, services_of, why_not_ready
from state.signals import Signal
from state.tables import Service

MOST_REMEMBERED = 10_000


class Watcher:
    """Compares every service that should answer with its replicas."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._changed: set[str] = set()

    def hears(self, signal: Signal) -> bool:
        """Remember a replica that changed; answers whether to look now."""
        if signal.kind != "changed" or signal.name != "replica":
            return False
        if len(self._changed) < MOST_REMEMBERED:  # a worker that is not elected hears and never looks
            self._changed.add(signal.id)
        return True

    async def look(self) -> None:
        """Wake what waits for changed replicas, then put services right."""
        changed, self._changed = self._changed, set()
        async with self._database.read() as session:
            waited_for = await services_of(session, changed) if changed else []
            wrong = await out_of_step(session)
        if waited_for:
            async with self._database.write() as session:
                await wake(session, waited_for)
        for each in wrong:
            await self._put_right(each.service_id)

    async def _put_right(self, service_id: str) -> None:
        async with self._database.write() as session:
            service = await lock(session, Service, service_id)
            # Again under the lock: another verb may have begun meanwhile.
            for found in await out_of_step(session, service_id):
                by = By("watcher")
                if found.move == "degrade":
                    why = await why_not_ready(session, service_id) or "a replica is missing"
                    by = By("watcher", "replica_lost", f"{found.ready} of {found.wanted} replicas answer; {why}")
                await advance(session, service, found.move, by)
