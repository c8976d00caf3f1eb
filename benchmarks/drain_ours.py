"""A worker of ours that works off no-op operations, each on a version of its own. Prints operations per second.

A process of its own that imports the rooms: there is no operation that does nothing to be asked for over HTTP.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import uvloop
from sqlalchemy import text

from core.secrets import Vault
from core.settings import Settings
from state.claims import Claim
from state.database import Database, open_database
from state.migrate import migrate
from state.runplacing import NOTHING_SEEN, SeenRun
from state.runspecs import RunSpec
from state.specs import ServiceSpec
from storage.cache import ArtifactCache
from storage.local import LocalStore
from workers.boot import build
from workers.outcomes import Done, Outcome
from workers.resources import Held, Resources
from workers.targets.base import SeenReplica

LOOK_S = 0.05
CLOCK = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
RESOURCE = "id, tenant_id, created_at, tags, generation, edition, status, since, sequence, updated_at"
FILL = (
    f"INSERT INTO models ({RESOURCE}, name, last_number) "
    "VALUES ('mdl_1', 'ten_default', 0, '[]', 1, 1, 'active', 0, 1, 0, 'm', 1)",
    f"INSERT INTO versions ({RESOURCE}, model_id, number, digest, size_bytes, format) "
    "SELECT 'ver_' || n, 'ten_default', 0, '[]', 1, 1, 'ready', 0, 1, 0, 'mdl_1', n, 'sha256:' || n, 1, 'onnx' "
    "FROM generate_series(1, :count) n",
    "INSERT INTO operations (id, tenant_id, created_at, kind, target_type, target_id, target_name, generation, actor, "
    "arguments, lane, status, priority, due_at, attempt, rescues, epoch, cancel_requested, since, sequence) "
    f"SELECT 'op_' || lpad(n::text, 9, '0'), 'ten_default', {CLOCK}, 'version.test', 'version', 'ver_' || n, '1', 1, "
    f"'bench', '{{}}', 'control', 'queued', 100, {CLOCK}, 0, 0, 0, false, 0, 1 FROM generate_series(1, :count) n",
    "INSERT INTO history (resource_id, sequence, resource_type, to_status, move, actor, at) "
    "SELECT id, 1, 'operation', 'queued', 'create', 'bench', 0 FROM operations",
    "ANALYZE",
)


class Nowhere:
    """A target that is never asked."""

    async def apply(self, spec: ServiceSpec, claim: Claim | None = None) -> None:
        """Nothing is placed."""

    async def remove(self, service_id: str, generation: int, claim: Claim | None = None) -> None:
        """Nothing is there."""

    async def observe(self, service_id: str) -> Sequence[SeenReplica]:
        """Nothing is seen."""
        return []

    async def apply_run(self, spec: RunSpec, claim: Claim | None = None) -> None:
        """Nothing is run."""

    async def remove_run(self, run_id: str, generation: int, claim: Claim | None = None) -> None:
        """Nothing runs."""

    async def observe_run(self, run_id: str) -> SeenRun:
        """Nothing is seen."""
        return NOTHING_SEEN

    async def logs(self, id: str, *, follow: bool, tail_bytes: int) -> AsyncIterator[bytes]:
        """Nothing was said."""
        yield b""


async def nothing(held: Held, resources: Resources) -> Outcome:
    """Do nothing."""
    return Done()


async def main(url: str, count: int, concurrency: int, folder: Path) -> None:
    """Queue them by one statement, then work them off."""
    settings = Settings.model_validate({"data": folder, "database_url": url, "lanes": {"control": concurrency}})
    database, store = open_database(url, statement_s=None), LocalStore(folder / "artifacts")
    cache = ArtifactCache(store, folder / "cache", max_bytes=1_000_000)
    vault = Vault(bytes(32))
    await migrate(database, vault)
    async with database.write() as session:
        for statement in FILL:
            await session.execute(text(statement), {"count": count} if ":count" in statement else {})
    host = await build(
        settings, database, store, cache, Nowhere(), vault, handlers={"version.test": nothing}, alone=False
    )
    began = time.perf_counter()
    await host.start()
    while await _unfinished(database):  # noqa: ASYNC110  (what is watched is in another process)
        await asyncio.sleep(LOOK_S)
    took_s = time.perf_counter() - began
    await host.stop(5.0)
    async with database.read() as session:
        done = await session.scalar(text("SELECT count(*) FROM operations WHERE status = 'succeeded'"))
    await cache.close()
    await store.close()
    await database.close()
    if done != count:
        sys.exit(f"{done} of {count} operations succeeded")
    print(f"{count / took_s:.1f}")


async def _unfinished(database: Database) -> bool:
    async with database.read() as session:
        query = "SELECT EXISTS (SELECT 1 FROM operations WHERE status = '{}')"
        waiting = [await session.scalar(text(query.format(status))) for status in ("queued", "running")]
    return any(waiting)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="portside-bench-") as name:
        uvloop.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(name)))
