"""A whole platform without its API, in one process: worker, caretakers and node over a migrated database."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from state.database import Database
from state.jobtables import Run, RunChunk, RunProcess
from tests.workers.node.world import VAULT, World, open_world, until
from tests.workers.platform import LEASE_S
from tests.workers.runrows import Ground
from workers.boot import WorkerHost, build
from workers.node.node import Node
from workers.node.runprogram import BatchCommand
from workers.registry import handlers

FINAL = ("succeeded", "failed", "stopped")


@dataclass(frozen=True)
class Hold:
    """What keeps the stand-in from going on until a test lets it: it cannot be done before the test has looked."""

    file: Path

    def at(self, chunks: int) -> dict[str, str]:
        """The variables of a run that stands still after so many chunks."""
        self.file.touch()
        return {"HOLD": str(self.file), "HOLD_AT": str(chunks)}

    def release(self) -> None:
        """Let it go on."""
        self.file.unlink()


@dataclass
class RunWorld:
    """What a test holds."""

    world: World
    ground: Ground
    node: Node
    host: WorkerHost

    @property
    def database(self) -> Database:
        return self.world.database

    async def begin(self, rows: bytes | None = None, variables: Mapping[str, str] | None = None, **spec: Any) -> Run:
        """A run over these rows, with everything that it needs."""
        await self.ground.version()
        await self.ground.dataset(rows or b"id,x\n")
        return await self.ground.run(await self.ground.job(variables=variables, **spec))

    async def until(self, run: Run, *statuses: str) -> Run:
        """The run once it has one of these statuses."""

        async def look() -> Run | None:
            found = await self.ground.now(run)
            return found if found.status in statuses else None

        found = await until(look)
        assert found is not None
        return found

    async def process(self, run: Run) -> RunProcess | None:
        """The row of its process."""
        async with self.database.read() as session:
            return await session.get(RunProcess, run.id)

    async def running(self, run: Run) -> int:
        """The pid of its process, once there is one."""

        async def look() -> int | None:
            found = await self.process(run)
            return None if found is None else found.pid

        pid = await until(look)
        assert pid is not None
        return pid

    async def another(self, run: Run, pid: int) -> None:
        """Until the run has another process."""

        async def look() -> bool:
            found = await self.process(run)
            return found is not None and found.pid not in (None, pid)

        await until(look)

    async def chunks(self, run: Run, least: int = 0) -> list[RunChunk]:
        """Its ledger, once it has so many chunks."""

        async def look() -> list[RunChunk] | bool:
            async with self.database.read() as session:
                query = select(RunChunk).where(RunChunk.run_id == run.id).order_by(RunChunk.ordinal)
                found = list(await session.scalars(query))
            return (found or True) if len(found) >= least else False

        found = await until(look)
        return [] if found is True or found is False else found


@asynccontextmanager
async def open_run_world(data: Path, command: BatchCommand | None = None, **changes: Any) -> AsyncIterator[RunWorld]:
    """Everything started; stopped at the end, the worker first."""
    async with AsyncExitStack() as stack:
        changes = {"lanes": "control=4,run=2,fetch=1", "lease_s": LEASE_S, **changes}
        world = await stack.enter_async_context(open_world(data, **changes))
        settings = world.settings
        node = world.node(batch_command=command)
        await node.start()
        parts = (settings, world.database, world.store, world.cache, world.target, VAULT)
        host = await build(*parts, handlers=handlers(), alone=True)
        stack.push_async_callback(host.stop, 0.5)
        await host.start()
        yield RunWorld(world, Ground(world.database, world.store, VAULT), node, host)
