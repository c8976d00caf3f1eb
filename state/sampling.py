"""Writes what a process saw lately as rows of `samples`, from which any api tells a service's metrics.

A database that is away costs samples, and nothing else: what was seen meanwhile is not written later, as of a time that
it does not belong to.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import select

from core.clock import Micros
from core.errors import DatabaseBusy
from core.ids import new_id
from core.outages import Outage
from state.database import Database, WriteSession, db_now
from state.samples import Sample
from state.tables import Replica

log = logging.getLogger(__name__)

LAST_S = 1.0  # what a process that is about to end may spend on its last samples


@dataclass(frozen=True, slots=True)
class Traffic:
    """The predictions of a replica, or those of a service that none of its replicas answered, since the last sample.

    `errors` are answers of 500 and more, `refused` those of 400 to 499; `latency` counts by `state.latencies`' buckets.
    """

    tenant_id: str
    service_id: str
    replica_id: str | None
    requests: int
    errors: int
    refused: int
    latency: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Usage:
    """What a replica's process has used: processor time within the last `over_micros`, and memory now."""

    replica_id: str
    cpu_micros: int
    over_micros: int
    memory_bytes: int


Seen = Sequence[Traffic] | Sequence[Usage]


class Sampler:
    """Asks `see` every `every_s` and writes what it answers."""

    def __init__(self, database: Database, see: Callable[[], Awaitable[Seen]], every_s: float) -> None:
        self._database, self._see, self._every_s = database, see, every_s
        self._outage = Outage(log, "samples for the services' metrics are lost")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Write again and again, until `stop`."""
        self._task = asyncio.create_task(self._keep_writing(), name="samples")

    async def stop(self) -> None:
        """Write no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def finish(self) -> None:
        """Stop, and write what was seen since the last samples if the database takes it now."""
        await self.stop()
        with suppress(DatabaseBusy, TimeoutError):
            async with asyncio.timeout(LAST_S):
                await self.write()

    async def write(self) -> None:
        """Write what is seen now. Raises `DatabaseBusy`."""
        seen = await self._see()
        if not seen:
            return
        async with self._database.write() as session:
            now = (await session.scalars(select(db_now()))).one()
            replicas = await _replicas(session, [each.replica_id for each in seen if isinstance(each, Usage)])
            for each in seen:
                if isinstance(each, Traffic):
                    session.append(_of_traffic(each, now))
                elif (replica := replicas.get(each.replica_id)) is not None:
                    session.append(_of_usage(each, replica, now))

    async def _keep_writing(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.write()
                self._outage.over()
            except DatabaseBusy as error:
                self._outage.met(error.message)
            except Exception:  # the next ones may be written
                log.exception("samples for the services' metrics are lost")


@dataclass(frozen=True, slots=True)
class _Owner:
    tenant_id: str
    service_id: str


async def _replicas(session: WriteSession, ids: Sequence[str]) -> Mapping[str, _Owner]:
    if not ids:
        return {}
    found = select(Replica.id, Replica.tenant_id, Replica.service_id).where(Replica.id.in_(ids))
    return {id: _Owner(tenant_id, service_id) for id, tenant_id, service_id in await session.execute(found)}


def _of_traffic(traffic: Traffic, now: Micros) -> Sample:
    return Sample(
        id=new_id("smp"),
        tenant_id=traffic.tenant_id,
        created_at=now,
        service_id=traffic.service_id,
        replica_id=traffic.replica_id,
        requests=traffic.requests,
        errors=traffic.errors,
        refused=traffic.refused,
        latency={str(bucket): count for bucket, count in traffic.latency.items()} or None,
    )


def _of_usage(usage: Usage, replica: _Owner, now: Micros) -> Sample:
    return Sample(
        id=new_id("smp"),
        tenant_id=replica.tenant_id,
        created_at=now,
        service_id=replica.service_id,
        replica_id=usage.replica_id,
        cpu_micros=usage.cpu_micros,
        over_micros=usage.over_micros,
        memory_bytes=usage.memory_bytes,
    )
