"""The scheduler on a real database: it fires what is due, and nothing while an operator has switched that off."""

import pytest
from sqlalchemy import select, update

from core.clock import now_micros
from core.ids import new_id
from state.database import Database
from state.history import By, begin
from state.jobtables import Job, Run
from state.migrate import DEFAULT_TENANT
from state.queries import schedules
from state.schedules import Schedule
from state.signals import Signal
from state.switches import switch_off, switch_on
from state.ticking import set_schedule
from tests.state.test_ticking import HOUR, hourly, scheduled
from tests.workers.platform import Platform
from workers.scheduler import Scheduler

MINUTE = 60_000_000


async def due_job(database: Database) -> str:
    """A job whose tick is due since half a minute."""
    now = now_micros()
    said = {"tenant_id": DEFAULT_TENANT, "created_at": now, "updated_at": now, "tags": [], "env_names": []}
    job = Job(
        id=new_id("job"), name="often", kind="batch", spec={"input": {"uri": "https://example.com/a.csv"}}, **said
    )
    async with database.write() as session:
        await begin(session, job, By("test"))
        await set_schedule(session, job, Schedule(every_s=60, anchor=now - MINUTE // 2), paused=False)
        job.scheduled_since, job.next_at = now - MINUTE, now - MINUTE // 2
    return job.id


async def runs_of(database: Database, job_id: str) -> list[str]:
    async with database.read() as session:
        return list(await session.scalars(select(Run.trigger).where(Run.job_id == job_id)))


async def test_what_is_due_fires_once(platform: Platform) -> None:
    database = platform.database
    job_id, scheduler = await due_job(database), Scheduler(database)
    await scheduler.look()
    await scheduler.look()
    assert await runs_of(database, job_id) == ["schedule"]


async def test_nothing_fires_while_schedules_are_switched_off_and_it_does_afterwards(platform: Platform) -> None:
    database = platform.database
    job_id, scheduler = await due_job(database), Scheduler(database)
    async with database.write() as session:
        await switch_off(session, "schedules", "ops", "maintenance", None)
    await scheduler.look()
    assert await runs_of(database, job_id) == []
    async with database.write() as session:
        await switch_on(session, "schedules")
    await scheduler.look()
    assert await runs_of(database, job_id) == ["schedule"]


async def test_the_end_of_a_run_and_a_new_schedule_hurry_it(platform: Platform) -> None:
    scheduler = Scheduler(platform.database)
    assert scheduler.hears(Signal("changed", "run", "run_1"))
    assert scheduler.hears(Signal("changed", "job", "job_1"))
    assert not scheduler.hears(Signal("changed", "service", "svc_1"))


async def test_jobs_that_cannot_be_decided_do_not_hold_up_the_others(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedules, "AT_ONCE", 2)
    database = platform.database
    since = now_micros() - 2 * HOUR
    broken = [await scheduled(database, hourly(since), since, f"broken-{number}") for number in range(3)]
    async with database.write() as session:
        spoilt = {"cron": "0 * * * *", "time_zone": "Atlantis/Capital"}
        await session.execute(update(Job).values(schedule=spoilt, next_at=since))
    healthy = await scheduled(database, hourly(since), since, "healthy")
    async with database.write() as session:
        await session.execute(update(Job).where(Job.id == healthy).values(next_at=since + HOUR))
    scheduler = Scheduler(database)
    for _ in range(2):
        await scheduler.look()
    async with database.read() as session:
        assert list(await session.scalars(select(Run.job_id))) == [healthy]
        assert set(await schedules.due_jobs(session, but=broken)) == set()
