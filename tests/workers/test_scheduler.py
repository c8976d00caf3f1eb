"""The scheduler's looks: what cannot be decided does not hold up what can."""

import pytest
from sqlalchemy import select, update

from core.clock import now_micros
from state.jobtables import Job, Run
from state.queries import schedules
from tests.state.test_ticking import HOUR, HOURLY, scheduled
from tests.workers.platform import Platform
from workers.scheduler import Scheduler


async def test_jobs_that_cannot_be_decided_do_not_hold_up_the_others(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedules, "AT_ONCE", 2)
    database = platform.database
    since = now_micros() - 2 * HOUR
    broken = [await scheduled(database, HOURLY, since, f"broken-{number}") for number in range(3)]
    async with database.write() as session:
        spoilt = {"cron": "0 * * * *", "time_zone": "Atlantis/Capital"}
        await session.execute(update(Job).values(schedule=spoilt, next_at=since))
    healthy = await scheduled(database, HOURLY, since, "healthy")
    async with database.write() as session:
        await session.execute(update(Job).where(Job.id == healthy).values(next_at=since + HOUR))
    scheduler = Scheduler(database)
    for _ in range(2):
        await scheduler.look()
    async with database.read() as session:
        assert list(await session.scalars(select(Run.job_id))) == [healthy]
        assert set(await schedules.due_jobs(session, but=broken)) == set()
