"""Several processes of one installation within one test process: each has its own database pool, notices and nudger."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from deploy.stack.process import PortsideProcess
from deploy.stack.redis import RedisServer
from state.notices import Notices
from tests.workers.platform import LEASE_S, Platform, open_platform
from workers.boot import WorkerHost, build_nudger
from workers.executor import Handler

NEVER_S = 3600.0
LANES = "control=4,predict=8,deliver=8,run=2"


class StartWorker(Protocol):
    """Starts `portside worker` as a process of its own and waits until it is ready; blocks."""

    def __call__(self, drain_s: float = 30.0, **settings: str) -> PortsideProcess:
        """`settings` without their prefix."""
        ...


@dataclass
class Installation:
    """An `api` that submits and nudges, and as many workers as a test starts."""

    folder: Path
    database_url: str
    redis: RedisServer
    stack: AsyncExitStack
    api: Platform
    workers: list[Platform] = field(default_factory=list)

    async def worker(
        self, handlers: Mapping[str, Handler], *, poll_s: float = NEVER_S, lanes: str = LANES, lease_s: float = LEASE_S
    ) -> WorkerHost:
        """A started worker; unless told it never looks by itself, so that only wake-ups can bring it to work."""
        platform = await self._process(f"worker-{len(self.workers)}", lanes, lease_s)
        self.workers.append(platform)
        host = await platform.start(handlers, poll_s=poll_s)
        if poll_s == NEVER_S:
            await self.settled(platform)
        return host

    async def settled(self, platform: Platform) -> None:
        """Let the first look of a relay pass: whatever begins after it was brought by a wake-up."""
        for _ in range(3):
            async with platform.database.read():
                await asyncio.sleep(0.02)

    async def _process(self, name: str, lanes: str, lease_s: float) -> Platform:
        platform = await self.stack.enter_async_context(
            open_platform(
                self.folder / name,
                is_migrated=True,
                database_url=self.database_url,
                broker_url=self.redis.url,
                lanes=lanes,
                lease_s=lease_s,
                allow_private_sources=True,
            )
        )
        notices = Notices(platform.database, self.database_url)
        self.stack.push_async_callback(notices.stop)
        await notices.start()
        return platform


@asynccontextmanager
async def open_installation(folder: Path, database_url: str, redis: RedisServer) -> AsyncIterator[Installation]:
    """One with its `api` running, on a migrated database."""
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(
            open_platform(folder / "api", is_migrated=True, database_url=database_url, broker_url=redis.url)
        )
        nudger = build_nudger(api.resources.settings, api.database)
        stack.push_async_callback(nudger.stop)
        await nudger.start()
        yield Installation(folder, database_url, redis, stack, api)
