"""A real database in a folder, and units of work on it, for the tests of the engine."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from sqlalchemy import select, update

from core.clock import now_micros
from core.ids import new_id
from core.secrets import Vault
from core.settings import Settings
from state.claims import Claim
from state.database import Database, open_database
from state.datatables import Dataset
from state.history import By, begin
from state.jobtables import Job, Run
from state.migrate import DEFAULT_TENANT, migrate
from state.operations import Who, submit
from state.runplacing import NOTHING_SEEN, SeenRun
from state.runspecs import RunSpec
from state.specs import ServiceSpec
from state.tables import Delivery, History, Model, Operation, Prediction, Service, Version
from storage.base import ArtifactStore
from storage.cache import ArtifactCache
from storage.local import LocalStore
from tests.workers.patience import WITHIN_S, growing_pauses
from workers.boot import WorkerHost, build
from workers.executor import Handler
from workers.outcomes import Outcome
from workers.resources import Held, Resources
from workers.targets.base import SeenReplica

WHO = Who(DEFAULT_TENANT, "user:local", "admin")
LEASE_S = 30.0  # longer than any process of a test stands still: who holds work loses it only where a test wants that
Row = TypeVar("Row", Operation, Prediction, Delivery, Version, Service, Model, Dataset, Job, Run)


class NoTarget:
    """The engine's own tests place nothing anywhere."""

    async def apply(self, spec: ServiceSpec, claim: Claim | None = None) -> None:
        """Never called."""
        raise AssertionError(spec)

    async def remove(self, service_id: str, generation: int, claim: Claim | None = None) -> None:
        """Never called."""
        raise AssertionError(service_id)

    async def observe(self, service_id: str) -> Sequence[SeenReplica]:
        """Nothing is there."""
        return []

    async def apply_run(self, spec: RunSpec, claim: Claim | None = None) -> None:
        """Never called."""
        raise AssertionError(spec)

    async def remove_run(self, run_id: str, generation: int, claim: Claim | None = None) -> None:
        """Never called."""
        raise AssertionError(run_id)

    async def observe_run(self, run_id: str) -> SeenRun:
        """Nothing is there."""
        return NOTHING_SEEN

    async def logs(self, id: str, *, follow: bool, tail_bytes: int) -> AsyncIterator[bytes]:
        """Nothing was logged."""
        yield b""


@dataclass
class Platform:
    """One database with everything that a handler is given."""

    resources: Resources
    hosts: list[WorkerHost] = field(default_factory=list)

    @property
    def database(self) -> Database:
        """The database of the test."""
        return self.resources.database

    async def start(self, handlers: Mapping[str, Handler], *, alone: bool = False, poll_s: float = 0.2) -> WorkerHost:
        """A started worker with these handlers."""
        parts = self.resources
        host = await build(
            parts.settings.model_copy(update={"poll_s": poll_s}),
            parts.database,
            parts.store,
            parts.cache,
            parts.target,
            parts.vault,
            handlers=handlers,
            alone=alone,
        )
        self.hosts.append(host)
        await host.start()
        return host

    async def version(self) -> Version:
        """A version that was just received, of a model of its own."""
        now = now_micros()
        common = {"tenant_id": DEFAULT_TENANT, "created_at": now, "updated_at": now, "tags": []}
        model = Model(id=new_id("mdl"), name=f"m{new_id('x')[-12:]}", last_number=1, **common)
        version = Version(
            id=new_id("ver"),
            model_id=model.id,
            number=1,
            digest=f"sha256:{'0' * 64}",
            size_bytes=1,
            format="onnx",
            **common,
        )
        async with self.database.write() as session:
            await begin(session, model, By("user:local"))
            await begin(session, version, By("user:local"))
        return version

    async def operation(
        self, kind: str = "version.inspect", *, deadline_s: float | None = None, due_in_s: float = 0.0
    ) -> Operation:
        """A queued operation on a fresh version."""
        return await self.submit(kind, await self.version(), deadline_s=deadline_s, due_in_s=due_in_s)

    async def submit(
        self, kind: str, version: Version, *, deadline_s: float | None = None, due_in_s: float = 0.0
    ) -> Operation:
        """A queued operation on this version."""
        async with self.database.write() as session:
            operation = await submit(session, WHO, kind, version)
            operation.due_at = session.now + int(due_in_s * 1_000_000)
            if deadline_s is not None:
                operation.deadline_at = session.now + int(deadline_s * 1_000_000)
            session.tell("later", operation.lane, operation.id)
        return operation

    async def delivery(self, url: str = "http://127.0.0.1:9/", endpoint_id: str | None = None) -> Delivery:
        """A pending delivery."""
        now = now_micros()
        row = Delivery(
            id=new_id("dlv"),
            tenant_id=DEFAULT_TENANT,
            created_at=now,
            lane="deliver",
            due_at=now,
            endpoint_id=endpoint_id,
            url=url,
            event_id=new_id("evt"),
            event_type="version.ready",
            body='{"type":"version.ready","data":{"name":"größe"}}',
            attempts=[],
        )
        async with self.database.write() as session:
            await begin(session, row, By("system"))
            session.tell("work", "deliver", row.id)
        return row

    async def now(self, row: Row) -> Row:
        """The row as it is in the database now."""
        async with self.database.read() as session:
            found = await session.get(type(row), row.id)
        assert found is not None
        return found

    def deadline(self) -> asyncio.Timeout:
        """How long a test waits for anything."""
        return asyncio.timeout(WITHIN_S)

    async def until(self, row: Row, *statuses: str) -> Row:
        """The row once it has one of these statuses."""
        return await self.until_true(row, lambda found: found.status in statuses)

    async def until_true(self, row: Row, holds: Callable[[Row], bool]) -> Row:
        """The row once the condition holds for it."""
        pauses = growing_pauses()
        async with asyncio.timeout(WITHIN_S):
            while not holds(found := await self.now(row)):
                await asyncio.sleep(next(pauses))
        return found

    async def moves(self, row: Row) -> list[str]:
        """The names of the moves that the row made, the creation first."""
        async with self.database.read() as session:
            query = select(History.move).where(History.resource_id == row.id).order_by(History.sequence)
            return list(await session.scalars(query))

    async def target_of(self, operation: Operation) -> Version:
        """The version that an operation works on."""
        async with self.database.read() as session:
            found = await session.get(Version, operation.target_id)
        assert found is not None
        return found

    async def set_operation(self, id: str, *, quietly: bool = False, **values: object) -> None:
        """Change an operation behind everybody's back, and say so unless `quietly`."""
        async with self.database.write() as session:
            await session.execute(update(Operation).where(Operation.id == id).values(**values))
            if not quietly:
                session.tell("changed", "operation", id)


async def wait_for(holds: Callable[[], bool]) -> None:
    """Wait on a condition of this process, with a deadline."""
    async with asyncio.timeout(WITHIN_S):
        while not holds():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def open_platform(
    folder: Path, store: ArtifactStore | None = None, *, is_migrated: bool = False, **settings: object
) -> AsyncIterator[Platform]:
    """A migrated database in `folder`, where one may be; at the end every worker is stopped, and the store closed."""
    chosen = Settings.model_validate({"data": folder, "lease_s": LEASE_S, **settings})
    async with AsyncExitStack() as stack:
        database = open_database(chosen.database)
        stack.push_async_callback(database.close)
        vault = Vault(bytes(32))
        if not is_migrated:
            await migrate(database, vault)
        store = store or LocalStore(folder / "artifacts")
        stack.push_async_callback(store.close)
        cache = ArtifactCache(store, folder / "cache", max_bytes=1_000_000)
        stack.push_async_callback(cache.close)
        platform = Platform(Resources(chosen, database, store, cache, NoTarget(), vault))
        stack.push_async_callback(_stop_all, platform.hosts)
        yield platform


async def _stop_all(hosts: Sequence[WorkerHost]) -> None:
    for host in hosts:
        await host.stop(0.0)


def answering(outcome: Outcome) -> Handler:
    """A handler that answers this at once."""

    async def handle(held: Held, resources: Resources) -> Outcome:
        return outcome

    return handle
