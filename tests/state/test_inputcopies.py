"""What runs copy of a URI does not pile up, and nothing goes that somebody reads; the same on both databases."""

from sqlalchemy import select

from core.clock import now_micros
from state.database import Database
from state.datatables import Dataset
from state.endings import fail as end_badly
from state.endings import lock_held
from state.history import By
from state.jobs import NewJob, create_job, hold_job, needs_of, new_job_id
from state.jobtables import Run, RunProcess
from state.pruning import forget_runs
from state.running import begin_run, delete_run, hold_run
from state.settling import settle
from tests.state.rows import ME, take
from tests.state.test_running import SPEC, end_next, make_job, run_now, world

NIGHTLY = {**SPEC, "input": {"uri": "https://example.com/today.csv"}}
COPIES = [f"nightly-{number}-input" for number in range(6)]


async def make_nightly(database: Database) -> None:
    """A job that reads a URI."""
    async with database.write() as session:
        await world(session)
        needs = await needs_of(session, ME.tenant_id, NIGHTLY)
        await create_job(session, ME, new_job_id(), NewJob("nightly", "batch", NIGHTLY), needs)


async def end(database: Database, run: Run) -> None:
    """It ends, and is settled as the watcher does."""
    async with database.write() as session:
        session.add(RunProcess(run_id=run.id, tenant_id=ME.tenant_id, generation=1, wanted=False, spec={}))
    async with database.write() as session:
        await settle(session, run.id)


async def succeed(database: Database) -> Run:
    run = await run_now(database, "nightly")
    await end_next(database)
    await end(database, run)
    return run


async def fail(database: Database) -> Run:
    run = await run_now(database, "nightly")
    taken = await take(database, "run")
    async with database.write() as session:
        await end_badly(session, await lock_held(session, *taken), By("test"), {"code": "odd", "detail": "it is"})
    await end(database, run)
    return run


async def copies(database: Database) -> list[str]:
    """The names of those that are there."""
    async with database.read() as session:
        query = select(Dataset.name).where(Dataset.role == "input", Dataset.status != "deleted")
        return sorted(await session.scalars(query))


async def test_a_job_keeps_what_its_last_success_has_read(database: Database) -> None:
    await make_nightly(database)
    await succeed(database)
    assert await copies(database) == COPIES[1:2]
    await fail(database)
    assert await copies(database) == COPIES[1:3]
    await succeed(database)
    assert await copies(database) == COPIES[3:4]


async def test_what_somebody_reads_by_now_stays(database: Database) -> None:
    await make_nightly(database)
    first = await succeed(database)
    async with database.write() as session:
        spec = {**SPEC, "input": {"dataset": COPIES[1]}}
        needs = await needs_of(session, ME.tenant_id, spec)
        await create_job(session, ME, new_job_id(), NewJob("again", "batch", spec), needs)
    second = await run_now(database, "nightly")
    await end_next(database)
    async with database.write() as session:
        await make_job(session, "other")
        other, _ = await begin_run(session, ME, await hold_job(session, ME, "other"), "manual")
        other.dataset_id = second.dataset_id  # a live run reads it
    await take(database, "run")
    await end(database, second)
    await succeed(database)
    assert await copies(database) == COPIES[1:4]
    for run in (first, second):
        async with database.write() as session:
            await delete_run(session, ME, await hold_run(session, run))
    async with database.write() as session:
        assert await forget_runs(session, 0, 10) == 2
    assert await copies(database) == COPIES[1:4]


async def test_a_copy_goes_with_its_run(database: Database) -> None:
    await make_nightly(database)
    run = await fail(database)
    async with database.write() as session:
        assert await forget_runs(session, now_micros() - 3_600_000_000, 10) == 0
    assert await copies(database) == COPIES[1:2]
    async with database.write() as session:
        await delete_run(session, ME, await hold_run(session, run))
    async with database.write() as session:
        assert await forget_runs(session, 0, 10) == 1
    assert await copies(database) == []
