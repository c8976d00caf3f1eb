"""Rolls services on whose reference means another version than they were given: a newer one is ready, or an alias has
moved and its own transaction could not see to all of them.
"""

from core.failpoints import failpoint
from core.secrets import Vault
from state.advance import lock
from state.database import Database
from state.following import roll_on
from state.operations import Who
from state.queries.following import behind
from state.switches import read_switches
from state.tables import Service

ACTOR = "follow"  # who rolls a service on, as its operations name it


class Follower:
    """Compares every service that follows with its reference."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database, self._vault = database, vault

    async def look(self) -> None:
        """Roll on those that are behind, each in a transaction of its own."""
        async with self._database.read() as session:
            late = await behind(session)
            if not late or "deploys" in await read_switches(session):
                return
        for each in late:
            await self._roll_on(each.service_id)

    async def _roll_on(self, service_id: str) -> None:
        async with self._database.write() as session:
            service = await lock(session, Service, service_id)
            # It looks again under the lock: the owner may have changed it, or an alias may have taken it along.
            await roll_on(session, Who(service.tenant_id, ACTOR, "admin"), self._vault, [service])
            failpoint("watch_before_commit")
