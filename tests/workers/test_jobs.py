"""A job that is deleted with the runs that are under way: it goes when the last of them has ended."""

from datetime import timedelta

from core.clock import now_micros
from state.jobs import delete_job as ask_to_delete
from state.jobs import hold_job
from state.jobtables import Run
from state.running import begin_run
from tests.state.test_running import make_job, world
from tests.workers.platform import WHO, Platform
from workers.handlers.jobs import delete_job
from workers.outcomes import Done, Outcome, Wait
from workers.resources import Held, Resources


async def nothing_ends(held: Held, resources: Resources) -> Outcome:
    """A run whose process does not end."""
    return Wait(timedelta(seconds=60), "its process is still ending")


async def ends_at_once(held: Held, resources: Resources) -> Outcome:
    """A run that has no process."""
    return Done(target={"completed_at": now_micros()})


async def test_a_job_goes_when_the_last_of_its_runs_has_ended(platform: Platform) -> None:
    async with platform.database.write() as session:
        await world(session)
        job = await make_job(session)
        runs = [(await begin_run(session, WHO, job, "manual"))[0] for _ in range(2)]
    async with platform.database.write() as session:
        operation = await ask_to_delete(session, WHO, await hold_job(session, WHO, job.name), with_runs=True)
    host = await platform.start({"job.delete": delete_job, "run.stop": nothing_ends})
    waiting = await platform.until_true(operation, lambda row: row.waiting_for is not None)
    assert waiting.waiting_for == "runs 1, 2 still under way"
    await platform.until(job, "deleting")
    await host.stop(0.0)
    stops = [each["operation"] for each in operation.arguments["runs"]]
    for stop in stops:
        await platform.set_operation(stop, due_at=0)
    await platform.start({"job.delete": delete_job, "run.stop": ends_at_once})
    ended = await platform.until(operation, "succeeded")
    assert ended.result == {"runs": [{"run": at + 1, "operation": stop} for at, stop in enumerate(stops)]}
    assert await platform.moves(job) == ["create", "delete", "deleted"]
    async with platform.database.read() as session:
        kept = [await session.get_one(Run, run.id) for run in runs]
    assert all(run.status == "stopped" and run.deleted_at is not None for run in kept)
