"""The target that is this machine: wishes are rows for the node, and its rows are what is seen."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict

from core.errors import NotFound
from core.settings import Settings
from state.claims import Claim, held
from state.database import Database
from state.jobtables import Run
from state.placements import FINAL, displace, place, placed_generation, replicas_of
from state.runplacing import SeenRun, see_run, unwant_run, want_run
from state.runspecs import RunSpec
from state.specs import ServiceSpec
from state.tables import Replica
from workers.node.logs import log_path, read_added, read_tail, run_log_path
from workers.targets.base import SeenReplica

FOLLOW_S = 0.1
LOOKS_PER_STATUS = 5  # how often the file is looked at between two questions to the database
RUN_RESTS = ("paused", "succeeded", "failed", "stopped")


class NodeTarget:
    """Wants, through the placements table, what the node shall run."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database, self._settings = database, settings

    async def apply(self, spec: ServiceSpec, claim: Claim | None = None) -> None:
        """Want this. Raises `StaleGeneration`, `ClaimLost`."""
        async with self._database.write() as session:
            if claim is not None:
                await held(session, claim)
            values = {
                "service_id": spec.service_id,
                "tenant_id": spec.tenant_id,
                "generation": spec.generation,
                "revision_id": spec.revision_id,
                "replicas": spec.replicas,
                "fresh_since": spec.fresh_since,
                "replacing": spec.replacing,
                "spec": _kept(spec),
            }
            await place(session, values)

    async def remove(self, service_id: str, generation: int, claim: Claim | None = None) -> None:
        """Want no replica of the service. Raises `StaleGeneration`, `ClaimLost`."""
        async with self._database.write() as session:
            if claim is not None:
                await held(session, claim)
            await displace(session, service_id, generation)

    async def observe(self, service_id: str) -> Sequence[SeenReplica]:
        """The replicas that are not final, and the final ones of the generation that was applied last, oldest first."""
        async with self._database.read() as session:
            rows = await replicas_of(session, service_id, await placed_generation(session, service_id))
        return [
            SeenReplica(
                id=row.id,
                revision_id=row.revision_id,
                generation=row.generation,
                status=row.status,
                reason=row.reason,
                message=row.message,
                address=row.address,
                created_at=row.created_at,
            )
            for row in rows
        ]

    async def apply_run(self, spec: RunSpec, claim: Claim | None = None) -> None:
        """Want a process for this try of a run. Raises `StaleGeneration`, `ClaimLost`."""
        async with self._database.write() as session:
            if claim is not None:
                await held(session, claim)
            await want_run(session, spec)

    async def remove_run(self, run_id: str, generation: int, claim: Claim | None = None) -> None:
        """Want no process of the run. Raises `StaleGeneration`, `ClaimLost`."""
        async with self._database.write() as session:
            if claim is not None:
                await held(session, claim)
            await unwant_run(session, run_id, generation)

    async def observe_run(self, run_id: str) -> SeenRun:
        """What the node says of the run."""
        async with self._database.read() as session:
            return await see_run(session, run_id)

    async def logs(self, id: str, *, follow: bool, tail_bytes: int) -> AsyncIterator[bytes]:
        """The end of the log; with `follow` what is added to it, until the replica has ended, or the run rests.

        Raises `NotFound`.
        """
        await self._has_ended(id)
        path = run_log_path(self._settings.data, id) if _is_run(id) else log_path(self._settings.data, id)
        text, offset = await asyncio.to_thread(read_tail, path, tail_bytes)
        yield text  # at once, also if there is nothing yet: who follows wants to know that the log is there
        while follow:
            has_ended = await self._has_ended(id)  # asked first: nothing is added after a yes
            for _ in range(1 if has_ended else LOOKS_PER_STATUS):
                text, offset = await asyncio.to_thread(read_added, path, offset)
                while text:
                    yield text
                    text, offset = await asyncio.to_thread(read_added, path, offset)
                if not has_ended:
                    await asyncio.sleep(FOLLOW_S)
            if has_ended:
                return

    async def _has_ended(self, id: str) -> bool:
        async with self._database.read() as session:
            if _is_run(id):
                run = await session.get(Run, id)
                if run is None or run.deleted_at is not None:
                    raise NotFound(f"no run has the id '{id}'")
                return run.status in RUN_RESTS
            row = await session.get(Replica, id)
        if row is None:
            raise NotFound(f"no replica has the id '{id}'")
        return row.status in FINAL


def _is_run(id: str) -> bool:
    return id.startswith("run_")


def _kept(spec: ServiceSpec) -> dict[str, object]:
    """What replicas are started from; a node of the release before knows nothing of `replacing`, config files, pins."""
    kept = {name: value for name, value in asdict(spec).items() if name != "replacing"}
    unknown = [name for name in ("config_sealed", "runtime") if kept[name] is None]
    return {name: value for name, value in kept.items() if name not in unknown}
