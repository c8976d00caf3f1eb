"""Jobs, datasets and runs as the tests of the API make them; no worker runs, so runs stay queued."""

from collections.abc import Mapping, Sequence

from httpx2 import AsyncClient, Response

from api.dependencies import Context
from core.clock import now_micros
from core.ids import new_id
from state.advance import advance
from state.claims import take
from state.datatables import Dataset
from state.endings import Locked, fail, lock_held, succeed
from state.history import By, begin
from state.migrate import DEFAULT_TENANT
from tests.api.catalogue import add_ready_versions

JOBS = "/api/v1/jobs"
FLOWERS = f"{JOBS}/flowers"
WORKER = By("worker")
COLUMNS = ("id", "a", "b", "c", "d")
FIRST = {"name": "flowers", "kind": "batch", "model": "iris", "input": {"dataset": "flowers"}}
# The model's only input is a vector of four: five columns do not fill it by position, but for the one that passes.
FITTING: Mapping[str, object] = {**FIRST, "pass_through": ["id"]}


async def add_dataset(
    context: Context,
    name: str = "flowers",
    columns: Sequence[str] = COLUMNS,
    move: str | None = "ready",
    kind: str = "table",
) -> Dataset:
    """A table with these columns, ready or still being made; its bytes are nowhere."""
    now = now_micros()
    row = Dataset(
        id=new_id("dts"),
        tenant_id=DEFAULT_TENANT,
        created_at=now,
        updated_at=now,
        tags=[],
        name=name,
        kind=kind,
        hints={},
        format="csv",
        columns=[{"name": column, "type": "float64"} for column in columns],
        rows=150,
    )
    async with context.database.write() as session:
        await begin(session, row, WORKER)
        if move is not None:
            await advance(session, row, move, By("worker", "dataset_invalid", "line 3 has 2 cells"))
    return row


async def prepared(context: Context) -> None:
    """The model `iris` with two ready versions, and the dataset `flowers`."""
    await add_ready_versions(context, 2)
    await add_dataset(context)


async def make_job(client: AsyncClient, name: str = "flowers", **more: object) -> Response:
    """A job that fits."""
    answer = await client.post(JOBS, json={**FITTING, "name": name, **more})
    assert answer.status_code == 201, answer.text
    return answer


async def make_run(client: AsyncClient, job: str = "flowers", **more: object) -> Response:
    """A run of it, queued."""
    answer = await client.post(f"{JOBS}/{job}:run", json=more)
    assert answer.status_code == 202, answer.text
    return answer


async def claim(context: Context, lane: str = "run") -> Locked:
    """Take the best due operation as a worker would: a run starts, or goes on."""
    taken = await take(context.database, lane, "worker", 10_000_000)
    assert taken is not None
    async with context.database.write() as session:
        return await lock_held(session, *taken)


async def end_work(context: Context, lane: str = "run", **target: object) -> None:
    """Claim the best due operation and let it succeed."""
    taken = await take(context.database, lane, "worker", 10_000_000)
    assert taken is not None
    async with context.database.write() as session:
        work = await lock_held(session, *taken)
        await succeed(session, work, WORKER, result={}, row={}, target=target)


async def fail_work(context: Context, problem: Mapping[str, object]) -> None:
    """Claim the best due run and let it fail."""
    taken = await take(context.database, "run", "worker", 10_000_000)
    assert taken is not None
    async with context.database.write() as session:
        work = await lock_held(session, *taken)
        await fail(session, work, WORKER, problem, target={"error": dict(problem), "completed_at": now_micros()})  # type: ignore[arg-type]  # JSON
