"""Feeds what replicas do into the services: `degrade`, `recover`, and waking the operations that wait for them; and
takes back the wish of an operation that ended before its handler could. Deletes services whose time is over.

Level-triggered: a signal in this process only hurries the look that comes every second anyway.
"""

from contextlib import suppress

from core.failpoints import failpoint
from state.advance import advance, lock
from state.claims import wake
from state.database import Database
from state.deploying import act
from state.history import By
from state.operations import Who
from state.placements import StaleGeneration
from state.queries.watching import (
    Misplaced,
    deleted_with,
    expired_services,
    misplaced,
    out_of_step,
    services_of,
    why_not_ready,
)
from state.signals import Signal
from state.specs import live_spec
from state.tables import Service
from workers.hearing import Heard
from workers.targets.base import Target

EXPIRY = "expiry"  # who deletes a service whose time is over, as its history names it


class Watcher:
    """Compares every service that should answer with its replicas."""

    def __init__(self, database: Database, target: Target) -> None:
        self._database, self._target = database, target
        self._heard = Heard("replica", "service")

    def hears(self, signal: Signal) -> bool:
        """Remember a replica or a service that changed; answers whether to look now."""
        return self._heard.hears(signal)

    async def look(self) -> None:
        """Wake what waits for changed replicas and deleted services, then put services right."""
        with self._heard.taken() as changed:
            async with self._database.read() as session:
                waited_for = await services_of(session, changed["replica"]) if changed["replica"] else []
                waited_for += await deleted_with(session, changed["service"]) if changed["service"] else []
                wrong = await out_of_step(session)
                strays = await misplaced(session)
                expired = await expired_services(session)
            if waited_for:
                async with self._database.write() as session:
                    await wake(session, waited_for)
                    failpoint("watch_before_commit")
        for each in wrong:
            await self._put_right(each.service_id)
        for stray in strays:
            await self._take_back(stray)
        for service_id in expired:
            await self._delete(service_id)

    async def _take_back(self, stray: Misplaced) -> None:
        """Its operation is over, so what the status says is what is wanted; a newer wish has a newer generation."""
        with suppress(StaleGeneration):
            if not stray.serves:
                await self._target.remove(stray.service_id, stray.generation)
                return
            async with self._database.read() as session:
                live = await live_spec(session, stray.service_id, stray.generation)
            if live is not None:
                await self._target.apply(live)

    async def _delete(self, service_id: str) -> None:
        async with self._database.write() as session:
            service = await lock(session, Service, service_id)
            # Again under the lock: its owner may have given it more time, or deleted it.
            if service_id in await expired_services(session):
                await act(session, Who(service.tenant_id, EXPIRY, "admin"), service, "delete")
                failpoint("watch_before_commit")

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
                failpoint("watch_before_commit")
