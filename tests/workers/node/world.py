"""An installation in a folder, as far as the node sees it: database, artifact, one service, the target and the node."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from core.clock import now_micros
from core.secrets import Vault
from core.settings import Settings
from state.database import Database, open_database
from state.history import By, begin
from state.migrate import DEFAULT_TENANT, migrate
from state.specs import ServiceSpec
from state.tables import Replica, Service
from storage.cache import ArtifactCache
from storage.local import LocalStore
from storage.open import open_store
from tests.workers.patience import WITHIN_S, growing_pauses
from workers.node.launch import Command, Launch, model_server
from workers.node.life import Rhythm
from workers.node.node import Node
from workers.node.runprogram import BatchCommand, BatchLaunch, batch_scorer
from workers.targets.base import SeenReplica
from workers.targets.node import NodeTarget

STAND_IN = Path(__file__).with_name("stand_in.py")
SCORER = Path(__file__).with_name("stand_in_scorer.py")
VAULT = Vault(b"k" * 32)
SERVICE = "svc_1"
Seen = TypeVar("Seen")
# A replica that a loaded machine keeps from answering for a while is not given up: tests of that are swift there, too.
SWIFT = Rhythm(
    check_starting_s=0.01, check_running_s=0.03, check_timeout_s=10, unready_s=60, linger_s=0.05, run_again_s=0.02
)


def stand_in(settings: Settings) -> Command:
    """The stand-in with the model server's arguments, in an interpreter that starts fast."""
    real = model_server(settings)

    def command(launch: Launch) -> Sequence[str]:
        return [sys.executable, "-I", "-S", str(STAND_IN), *real(launch)[4:]]

    return command


def stand_in_scorer(settings: Settings) -> BatchCommand:
    """The same in the batch scorer's place."""
    real = batch_scorer(settings)

    def command(launch: BatchLaunch) -> Sequence[str]:
        return [sys.executable, "-I", "-S", str(SCORER), *real(launch)[5:]]

    return command


async def until(look: Callable[[], Awaitable[Seen]], within_s: float = WITHIN_S) -> Seen:
    """Look until something true is seen, and answer it."""
    deadline, pauses = time.monotonic() + within_s, growing_pauses()
    while not (found := await look()):
        assert time.monotonic() < deadline, f"not within {within_s:g} s; last seen: {found!r}"
        await asyncio.sleep(next(pauses))
    return found


def is_running(pid: int) -> bool:
    """Whether a process is there that is no zombie."""
    with suppress(ProcessLookupError, FileNotFoundError):
        os.kill(pid, 0)
        if not Path("/proc/self/stat").exists():
            return True
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@dataclass
class World:
    """What a test holds."""

    settings: Settings
    database: Database
    store: LocalStore
    cache: ArtifactCache
    target: NodeTarget
    digest: str
    nodes: list[Node] = field(default_factory=list)

    def node(
        self, rhythm: Rhythm = SWIFT, command: Command | None = None, batch_command: BatchCommand | None = None
    ) -> Node:
        """A node that is not started yet; tests that start one stop it, or leave it to the fixture."""
        node = Node(
            self.settings,
            self.database,
            self.store,
            self.cache,
            VAULT,
            owner=f"test:{os.getpid()}:{len(self.nodes)}",
            command=command or stand_in(self.settings),
            batch_command=batch_command or stand_in_scorer(self.settings),
            rhythm=rhythm,
        )
        self.nodes.append(node)
        return node

    def spec(
        self, *, variables: dict[str, str] | None = None, files: dict[str, str] | None = None, **changes: Any
    ) -> ServiceSpec:
        """A wish; `variables` are the user's environment, `files` the config files."""
        revision = changes.get("revision_id", "rev_1")
        sealed = VAULT.seal(json.dumps(variables), f"revision:{revision}") if variables else None
        values: dict[str, Any] = {
            "service_id": SERVICE,
            "tenant_id": DEFAULT_TENANT,
            "service": "iris",
            "generation": 1,
            "revision_id": revision,
            "replicas": 1,
            "model": "flowers",
            "version": "3",
            "digest": self.digest,
            "signature": {"task": "classification"},
            "cpu": 1.5,
            "memory_mb": None,
            "env_sealed": sealed,
            "config_sealed": VAULT.seal(json.dumps(files), f"config:{revision}") if files else None,
        }
        return ServiceSpec(**(values | changes))

    async def seen(self, status: str | None = None) -> list[SeenReplica]:
        """The replicas that the target sees, those of one status only if it is given."""
        return [r for r in await self.target.observe(SERVICE) if status in (None, r.status)]

    async def ready(self, count: int) -> list[SeenReplica]:
        """Wait until exactly so many are ready and nothing else is alive."""

        async def look() -> list[SeenReplica]:
            alive = [r for r in await self.seen() if r.status not in ("stopped", "failed")]
            return alive if len(alive) == count and all(r.status == "ready" for r in alive) else []

        return await until(look)

    async def ended(self, status: str, count: int = 1) -> list[SeenReplica]:
        """Wait until at least so many have ended with this status."""

        async def look() -> list[SeenReplica]:
            found = await self.seen(status)
            return found if len(found) >= count else []

        return await until(look)

    async def printed(self, replica_id: str) -> dict[str, Any]:
        """The first line of a stand-in: what it was given."""
        text = b"".join([piece async for piece in self.target.logs(replica_id, follow=False, tail_bytes=100_000)])
        found: dict[str, Any] = json.loads(text.splitlines()[0])
        return found

    async def pid(self, replica_id: str) -> int:
        """The process of a replica, as its row has it."""
        async with self.database.read() as session:
            row = await session.get(Replica, replica_id)
        assert row is not None
        assert row.pid is not None
        return row.pid


@asynccontextmanager
async def open_world(data: Path, model: bytes = b"a model", **changes: Any) -> AsyncIterator[World]:
    """The installation in a data folder whose database is migrated; stops the nodes at the end."""
    settings = Settings(**{"data": data, "deploy_timeout_s": 60, "drain_s": 2, **changes})
    async with AsyncExitStack() as stack:
        database = open_database(settings.database)
        stack.push_async_callback(database.close)
        store = open_store(settings.artifacts)
        stack.push_async_callback(store.close)
        assert isinstance(store, LocalStore)
        cache = ArtifactCache(store, data / "cache", max_bytes=1_000_000)
        stack.push_async_callback(cache.close)
        world = World(settings, database, store, cache, NodeTarget(database, settings), await _stored(store, model))
        stack.push_async_callback(_stop_all, world.nodes)
        yield world


async def _stop_all(nodes: Sequence[Node]) -> None:
    for node in nodes:
        await node.stop(2)


async def _stored(store: LocalStore, model: bytes) -> str:
    async def content() -> AsyncIterator[bytes]:
        yield model

    return str((await store.put(content())).digest)


async def make_database(url: str) -> None:
    """A database with the schema, the default tenant and the service that placements and replicas belong to."""
    database = open_database(url)
    await migrate(database, VAULT)
    now = now_micros()
    service = Service(
        id=SERVICE, tenant_id=DEFAULT_TENANT, created_at=now, updated_at=now, tags=[], name="iris", replicas=1
    )
    async with database.write() as session:
        await begin(session, service, By("test"))
    await database.close()
