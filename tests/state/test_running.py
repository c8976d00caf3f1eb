"""Jobs and runs beneath the API: numbers, successors, what is kept from deletion; the same on both databases."""

import asyncio

import pytest
from sqlalchemy import func, select

from core.clock import now_micros
from core.errors import DatabaseBusy, InUse, InvalidField, NotFound
from core.ids import new_id
from state.advance import advance, lock
from state.cataloguing import Description, create_model, delete_model, delete_version, hold_model, hold_version
from state.database import Database, WriteSession
from state.datasets import delete_dataset, hold_dataset
from state.datatables import Dataset
from state.endings import lock_held, succeed
from state.environments import variables_of
from state.history import By, begin
from state.jobs import (
    JobChange,
    NewJob,
    TooManyFollowers,
    change_job,
    create_job,
    delete_job,
    hold_job,
    needs_of,
    new_job_id,
)
from state.jobtables import Job, Run, RunArtifact, RunChunk, RunProcess, RunReport, Tick
from state.naming import output_fault, output_name, run_name
from state.processes import Presence, Self
from state.pruning import forget_runs
from state.queries.jobs import list_jobs
from state.queries.lists import View
from state.queries.models import find_model
from state.queries.runs import list_runs, unfollowed
from state.releases import UpgradeUnderWay
from state.running import act_on_run, begin_run, begin_successors, delete_run, hold_run
from state.tables import History, Operation
from tests.state.rows import ME, TEST, VAULT, somebody_waits_for_a_lock, take
from tests.state.test_following import add

SPEC = {
    "model": "iris",
    "version": "latest",
    "part": None,
    "input": {"dataset": "flowers"},
    "output": {"name": "{job}-{run}", "format": None, "compression": None, "replace": False},
    "run_name": None,
}
OCTOBER = 1_791_000_000_000_000


async def world(session: WriteSession) -> None:
    """A model with a ready version, and a dataset."""
    await add(session, await create_model(session, ME, "iris", Description()))
    now = now_micros()
    row = Dataset(id=new_id("dts"), tenant_id=ME.tenant_id, created_at=now, updated_at=now, tags=[], name="flowers")
    row.kind, row.hints = "table", {}
    await begin(session, row, TEST)
    await advance(session, row, "ready", TEST)


async def make_job(session: WriteSession, name: str = "score", after: str | None = None) -> Job:
    needs = await needs_of(session, ME.tenant_id, SPEC)
    job, _ = await create_job(session, ME, new_job_id(), NewJob(name, "batch", SPEC, after=after), needs)
    return job


async def run_now(database: Database, job: str = "score") -> Run:
    async with database.write() as session:
        run, _ = await begin_run(session, ME, await hold_job(session, ME, job), "manual")
        return run


async def end_next(database: Database, lane: str = "run") -> None:
    """As a worker does whose work took effect."""
    taken = await take(database, lane)
    async with database.write() as session:
        work = await lock_held(session, *taken)
        await succeed(session, work, By("worker"), result={}, row={}, target={"completed_at": now_micros()})


async def follow(database: Database, run_id: str) -> int:
    async with database.write() as session:
        return len(await begin_successors(session, await lock(session, Run, run_id)))


async def test_runs_that_begin_together_have_numbers_of_their_own(database: Database) -> None:
    async with database.write() as session:
        await world(session)
        await make_job(session)
    runs = await asyncio.gather(*(run_now(database) for _ in range(5)))
    assert sorted(run.number for run in runs) == [1, 2, 3, 4, 5]
    assert {run.name for run in runs} == {f"score-{number}" for number in range(1, 6)}


async def test_a_success_starts_its_successors_once_whoever_looks(database: Database) -> None:
    async with database.write() as session:
        await world(session)
        await make_job(session)
        for name in ("b", "a"):
            await make_job(session, name, after="score")
    run = await run_now(database)
    assert await follow(database, run.id) == 0  # it has not ended
    await end_next(database)
    async with database.read() as session:
        assert await unfollowed(session) == [run.id]
    assert sorted(await asyncio.gather(*(follow(database, run.id) for _ in range(3)))) == [0, 0, 2]
    async with database.read() as session:
        assert await unfollowed(session) == []
        followers = list(await session.scalars(select(Run).where(Run.trigger == "after").order_by(Run.job_name)))
        ticks = list(await session.scalars(select(Tick).order_by(Tick.created_at)))
    assert [(each.job_name, each.status, each.number) for each in followers] == [("a", "queued", 1), ("b", "queued", 1)]
    assert {(tick.key, tick.outcome) for tick in ticks} == {(run.id, "fired")}
    assert {tick.run_id for tick in ticks} == {each.id for each in followers}


async def test_only_success_is_followed(database: Database) -> None:
    async with database.write() as session:
        await world(session)
        await make_job(session)
        await make_job(session, "next", after="score")
    run = await run_now(database)
    async with database.write() as session:
        await act_on_run(session, ME, await hold_run(session, run), "stop")
    await end_next(database, "control")
    assert await follow(database, run.id) == 0
    async with database.read() as session:
        assert await session.scalar(select(func.count()).select_from(Run)) == 1


async def test_what_a_run_reads_is_kept_from_the_moment_it_is_begun(database: Database) -> None:
    async with database.write() as session:
        await world(session)
        await make_job(session)

    async def delete() -> None:
        async with database.write() as session:
            await delete_dataset(session, ME, await hold_dataset(session, ME, "flowers"))

    async with database.write() as session:
        await begin_run(session, ME, await hold_job(session, ME, "score"), "manual")
        deleting = asyncio.create_task(delete())
        await somebody_waits_for_a_lock(database)
    with pytest.raises(InUse, match="read by a run"):
        await deleting


async def test_a_version_that_a_live_run_was_given_is_kept(database: Database) -> None:
    async with database.write() as session:
        await world(session)
        await make_job(session)
    run = await run_now(database)

    async def delete() -> None:
        async with database.write() as session:
            model = await find_model(session, ME.tenant_id, "iris")
            await delete_version(session, ME, model, await hold_version(session, model, "1"))

    async with database.write() as session:
        model = await hold_model(session, ME, "iris")
        held = await hold_run(session, run)
        held.version_id = (await hold_version(session, model, "1")).id
        deleting = asyncio.create_task(delete())
        await somebody_waits_for_a_lock(database)
    with pytest.raises(InUse, match="/api/v1/jobs/score/runs/1"):
        await deleting


async def test_a_job_holds_the_version_that_it_names_and_is_followed_by_so_many(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("state.jobs.MOST_FOLLOWERS", 3)  # a figure, not a function
    async with database.write() as session:
        await world(session)
        job = await make_job(session)
        job.spec = {**SPEC, "version": "1"}
        for number in range(3):
            await make_job(session, f"after-{number}", after="score")
    with pytest.raises(TooManyFollowers):
        async with database.write() as session:
            await make_job(session, "more", after="score")
    async with database.write() as session:
        model = await find_model(session, ME.tenant_id, "iris")
        version = await hold_version(session, model, "1")
        with pytest.raises(InUse, match="used by the job 'score'"):
            await delete_version(session, ME, model, version)


async def test_a_list_reads_a_spec_without_what_may_be_large(database: Database) -> None:
    large = {"mapping": {"x": "a"}, "args": ["-v"], "script": {"requirements": "numpy", "entry": "main.py"}}
    async with database.write() as session:
        await world(session)
        (await make_job(session)).spec = {**SPEC, **large}
    await run_now(database)
    async with database.read() as session:
        pages = (await list_jobs(session, ME.tenant_id, View()), await list_runs(session, ME.tenant_id, View()))
    for found in pages:
        assert [row.spec for row in found.rows] == [{**SPEC, "script": {"entry": "main.py"}}]


async def test_a_model_that_a_live_run_still_has_is_kept_though_its_job_has_another(database: Database) -> None:
    async with database.write() as session:
        await world(session)
        job = await make_job(session)
        await add(session, await create_model(session, ME, "other", Description()))
        await begin_run(session, ME, job, "manual")
        job.spec, job.model_id = {**SPEC, "model": "other"}, "mdl_other"
    async with database.write() as session:
        model = await hold_model(session, ME, "iris")
        with pytest.raises(InUse, match="needed by /api/v1/jobs/score/runs/1"):
            await delete_model(session, ME, model)


async def test_an_older_process_lets_no_run_begin(database: Database) -> None:
    async with database.write() as session:
        await world(session)
        await make_job(session)
    old = Presence(database, Self("worker:1", "worker", "here", 1, "0.1", "0015"))
    await old.start()
    with pytest.raises(UpgradeUnderWay):
        await run_now(database)
    with pytest.raises(UpgradeUnderWay):
        async with database.write() as session:
            await make_job(session, "other")
    await old.stop()


async def test_a_run_without_variables_of_its_own_has_those_of_its_job(database: Database) -> None:
    run_id = None
    async with database.write() as session:
        await world(session)
        job = await make_job(session)
        job.env_sealed, job.env_names = VAULT.seal('{"A": "1"}', f"job:{job.id}"), ["A"]
        run, _ = await begin_run(session, ME, job, "schedule", scheduled_for=OCTOBER)
        run_id = run.id
    async with database.read() as session:
        run = await session.get_one(Run, run_id)
    assert (variables_of(VAULT, run), run.env_names, run.scheduled_for) == ({"A": "1"}, ["A"], OCTOBER)


async def test_a_deleted_run_goes_with_all_that_it_kept(database: Database) -> None:
    async with database.write() as session:
        await world(session)
        await make_job(session)
    ended, live = [await run_now(database) for _ in range(2)]
    await end_next(database)
    async with database.write() as session:
        for run in (ended, live):
            session.add(
                RunProcess(run_id=run.id, tenant_id=ME.tenant_id, generation=1, wanted=False, spec={}, pid=None)
            )
            session.add(RunReport(run_id=run.id, sequence=1, at=1, values={}))
            row = RunArtifact(run_id=run.id, path="a", role="output", digest="sha256:0", size_bytes=1, created_at=1)
            chunk = RunChunk(run_id=run.id, ordinal=0, first_row=0, rows_in=1, rows_out=1, bad=0, size_bytes=1)
            chunk.digest, chunk.next, chunk.committed_at = "sha256:0", {}, 1
            session.add_all([row, chunk])
        await delete_run(session, ME, await hold_run(session, ended))
    with pytest.raises(NotFound):
        async with database.write() as session:
            await hold_run(session, ended)
    async with database.write() as session:
        assert await forget_runs(session, before=0, limit=10) == 1
        assert await forget_runs(session, before=now_micros(), limit=10) == 0
        for table in (RunProcess, RunReport, RunArtifact, RunChunk):
            assert list(await session.scalars(select(table.run_id))) == [live.id]
        assert list(await session.scalars(select(Run.id))) == [live.id]
        assert await session.scalar(select(func.count()).where(History.resource_id == ended.id)) == 0


async def test_a_run_goes_when_its_keeping_time_is_over_and_its_process_is(database: Database) -> None:
    async with database.write() as session:
        await world(session)
        await make_job(session)
    run = await run_now(database)
    await end_next(database)
    async with database.write() as session:
        session.add(RunProcess(run_id=run.id, tenant_id=ME.tenant_id, generation=1, wanted=False, spec={}, pid=7))
    later = now_micros() + 1
    async with database.write() as session:
        assert await forget_runs(session, later, 10) == 0
        (await session.get_one(RunProcess, run.id)).pid = None
        await session.flush()
        assert await forget_runs(session, later, 10) == 1


async def test_the_runs_of_a_deleted_job_go_with_it(database: Database) -> None:
    async with database.write() as session:
        await world(session)
        await make_job(session)
    for _ in range(2):
        await run_now(database)
        await end_next(database)
    async with database.write() as session:
        await delete_job(session, ME, await hold_job(session, ME, "score"), with_runs=False)
    async with database.write() as session:
        assert await forget_runs(session, 0, 10) == 2


async def test_stopping_takes_the_place_of_what_holds_the_run(database: Database) -> None:
    async with database.write() as session:
        await world(session)
        await make_job(session)
    run = await run_now(database)
    claim, row = await take(database, "run")
    async with database.write() as session:
        stop = await act_on_run(session, ME, await hold_run(session, run), "stop")
    async with database.read() as session:
        execute = await session.get_one(Operation, claim.id)
    assert (execute.status, execute.superseded_by, execute.epoch) == ("canceled", stop.id, claim.epoch)
    assert (stop.kind, stop.generation, getattr(row, "generation", 0)) == ("run.stop", 2, 1)


def test_names_are_filled_in_and_stay_names() -> None:
    day = "2026-10-03"
    assert output_name("{job}-{run}", "score", 7, OCTOBER) == "score-7"
    assert output_name("{job}-{date}", "score", 7, OCTOBER) == f"score-{day}"
    long = "j" * 48
    assert output_name("{job}-{run}-bad", long, 12345, OCTOBER) == f"{'j' * 38}-12345-bad"
    assert output_name("{job}-{job}", long, 1, OCTOBER) == f"{'j' * 23}-{'j' * 23}"
    assert len(output_name("{job}-{run}", "a-" * 23 + "a", 10**6, OCTOBER)) <= 48
    assert run_name(None, "score", 7, OCTOBER) == "score-7"
    assert run_name("{job} {what} {date}", "score", 7, OCTOBER) == f"score {{what}} {day}"
    assert output_fault("{job}-{run}-{date}") is None
    assert all(output_fault(wrong) for wrong in ("{run}", "-{job}", "{job}-", "{job}.csv", "{week}", "{job", ""))


async def test_jobs_that_are_changed_at_the_same_time_do_not_follow_each_other_in_a_circle(database: Database) -> None:
    async with database.write() as session:
        await world(session)
        for name in ("a", "b"):
            await make_job(session, name)
    begun = {"a": asyncio.Event(), "b": asyncio.Event()}

    async def follow_other(name: str, other: str) -> None:
        async with database.write() as session:
            job = await hold_job(session, ME, name)
            begun[name].set()
            if database.dialect == "postgresql":  # a database with one writer has the other one wait for us
                await asyncio.wait_for(begun[other].wait(), 60)
            await change_job(session, ME, job, JobChange(names_after=True, after=other))

    told = await asyncio.gather(follow_other("a", "b"), follow_other("b", "a"), return_exceptions=True)
    (refused,) = (each for each in told if each is not None)
    assert isinstance(refused, (InvalidField, DatabaseBusy))
    async with database.read() as reading:
        assert len(list(await reading.scalars(select(Job.id).where(Job.after_id.is_not(None))))) == 1


async def test_no_job_follows_one_that_is_deleted_at_the_same_time(database: Database) -> None:
    async with database.write() as session:
        await world(session)
        for name in ("a", "b"):
            await make_job(session, name)
    has_begun = asyncio.Event()

    async def follow_it() -> None:
        await has_begun.wait()
        async with database.write() as session:
            job = await hold_job(session, ME, "b")
            await change_job(session, ME, job, JobChange(names_after=True, after="a"))

    async def delete_it() -> None:
        async with database.write() as session:
            job = await hold_job(session, ME, "a")
            has_begun.set()
            await somebody_waits_for_a_lock(database)
            await delete_job(session, ME, job, with_runs=False)

    told = await asyncio.gather(delete_it(), follow_it(), return_exceptions=True)
    assert told[0] is None
    assert isinstance(told[1], NotFound)
