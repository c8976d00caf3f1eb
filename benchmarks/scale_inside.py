"""Fills a small and a large database and asks both the same in turns. Prints the milliseconds as JSON.

A process of its own that imports the rooms: over HTTP the transaction would be lost in the request around it.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable

from sqlalchemy import text

from core.secrets import Vault
from state.claims import take
from state.database import Database, open_database
from state.migrate import DEFAULT_TENANT, migrate
from state.queries.lists import Cursor, View
from state.queries.models import list_models, summaries

CLAIMS, PAGES, WARM_UP = 300, 400, 30
FINISHED = (10, 1_000_000)
MODELS = (100, 100_000)
TARGETS = 1000  # so that each has a thousand finished operations in the large one
LEASE_MICROS = 3_600_000_000
RESOURCE = "id, tenant_id, created_at, tags, generation, edition, status, since, sequence, updated_at"
OPERATION = (
    "INSERT INTO operations (id, tenant_id, created_at, kind, target_type, target_id, target_name, generation, actor, "
    "arguments, lane, status, priority, due_at, attempt, rescues, epoch, cancel_requested, since, sequence) "
)
FILL_MODELS = (
    f"INSERT INTO models ({RESOURCE}, name, last_number) SELECT 'mdl_' || n, '{DEFAULT_TENANT}', n, '[]', 1, 1, "
    "'active', 0, 1, 0, 'm' || n, 1 FROM numbers",
    f"INSERT INTO versions ({RESOURCE}, model_id, number, digest, size_bytes, format) SELECT 'ver_' || n, "
    f"'{DEFAULT_TENANT}', n, '[]', 1, 1, 'ready', 0, 1, 0, 'mdl_' || n, 1, 'sha256:' || n, 1, 'onnx' FROM numbers",
)


def _operations(status: str, prefix: str) -> str:
    return (
        f"{OPERATION} SELECT '{prefix}' || n, '{DEFAULT_TENANT}', n, 'version.test', 'version', "
        f"'ver_' || (n % {TARGETS}), '1', 1, 'a', '{{}}', 'control', '{status}', 100, n, 0, 0, 0, false, 0, 1 "
        "FROM numbers"
    )


async def _fill(database: Database, finished: int, models: int) -> None:
    await migrate(database, Vault(bytes(32)))
    queued = _operations("queued", "op_q")
    for statement, count in [
        *((fill, models) for fill in FILL_MODELS),
        (_operations("succeeded", "op_f"), finished),
        (queued, CLAIMS + WARM_UP),
    ]:
        series = f"generate_series(1, {count}) AS numbers(n)"
        if database.dialect == "sqlite":
            series = (
                f"(WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {count}) SELECT n FROM c)"
            )
        async with database.write() as session:
            await session.execute(text(statement.replace("FROM numbers", f"FROM {series}")))
    if database.dialect == "postgresql":
        async with database.write() as session:
            await session.execute(text("ANALYZE"))


async def _claim(database: Database) -> None:
    if await take(database, "control", "bench", LEASE_MICROS) is None:
        raise RuntimeError("nothing was claimed")


async def _page(database: Database, models: int) -> None:
    """One of three: the first page, one somewhere, the last."""
    start = random.choice([models + 1, random.randint(51, models), 51])
    async with database.read() as session:
        found = await list_models(session, DEFAULT_TENANT, View(after=Cursor(start, "z")))
        await summaries(session, found.rows)
    if len(found.rows) != 50:
        raise RuntimeError(f"a page of {len(found.rows)}")


async def _timed(work: Callable[[], Awaitable[None]]) -> float:
    began = time.perf_counter()
    await work()
    return 1000 * (time.perf_counter() - began)


async def main(urls: list[str]) -> None:
    """Fill them, then ask in turns."""
    small, large = (open_database(url, statement_s=None) for url in urls)
    for database, finished, models in zip((small, large), FINISHED, MODELS, strict=True):
        await _fill(database, finished, models)
    samples: dict[str, list[float]] = {name: [] for name in ("claim small", "claim large", "list small", "list large")}
    for number in range(CLAIMS):
        for name, database in (("claim small", small), ("claim large", large)):
            took = await _timed(lambda asked=database: _claim(asked))  # type: ignore[misc]  # bound at once
            if number >= WARM_UP:
                samples[name].append(took)
    for number in range(PAGES):
        for name, database, models in (("list small", small, MODELS[0]), ("list large", large, MODELS[1])):
            took = await _timed(lambda asked=database, count=models: _page(asked, count))  # type: ignore[misc]  # likewise
            if number >= WARM_UP:
                samples[name].append(took)
    await small.close()
    await large.close()
    print(json.dumps(samples))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
