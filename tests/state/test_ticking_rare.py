"""Ticks where something unusual comes between: clocks set back, pauses, refused runs, deleted jobs, the last years."""

from collections import Counter
from dataclasses import replace

import pytest
from sqlalchemy import delete, update

from core.clock import Micros, from_rfc3339, now_micros, rfc3339
from state.advance import lock
from state.database import Database
from state.jobs import delete_job
from state.jobtables import Job, Tick
from state.queries.schedules import due_jobs, released_jobs
from state.schedules import LAST, Schedule, upcoming
from state.ticking import backfill, pause_schedule, resume_schedule, set_schedule
from tests.state.rows import ME
from tests.state.test_ticking import (
    HOUR,
    decide_at,
    finish_runs,
    hourly,
    hours,
    runs,
    scheduled,
    told,
)

pytestmark = pytest.mark.usefixtures("database")


def queued(since: Micros) -> Schedule:
    """The same for ticks that wait for their turn."""
    return replace(hourly(since), overlap="queue")


async def test_a_schedule_that_is_given_while_the_clock_is_behind_decides_no_tick_again(database: Database) -> None:
    since = now_micros() - 3 * HOUR
    first, second, third = hours(since, 3)
    job_id = await scheduled(database, hourly(since), since)
    assert await decide_at(database, job_id, first) == 1
    await finish_runs(database, job_id)
    assert await decide_at(database, job_id, second) == 1
    await finish_runs(database, job_id)
    async with database.write() as session:  # what a PUT does by a clock that was set back
        (await lock(session, Job, job_id)).scheduled_since = since
    assert await decide_at(database, job_id, second) == 0
    assert await decide_at(database, job_id, third) == 1
    assert [tick for _, tick, _ in await runs(database, job_id)] == [first, second, third]


async def test_ticks_that_are_not_decided_when_a_schedule_is_paused_or_changed_are_told(database: Database) -> None:
    for change, reason in ((False, "paused"), (True, "schedule_changed")):
        since = now_micros() - 3 * HOUR
        job_id = await scheduled(database, hourly(since), since, f"nightly-{reason.replace('_', '-')}")
        async with database.write() as session:
            job = await lock(session, Job, job_id)
            edition = job.edition
            if change:
                await set_schedule(session, job, queued(since), paused=False)
            else:
                await pause_schedule(session, job)
                assert job.edition > edition
                await resume_schedule(session, job)
        ((key, *what),) = await told(database, job_id)
        assert (key.partition("/")[0], what) == (rfc3339(hours(since, 1)[0]), ["skipped", reason])


async def test_a_schedule_whose_zone_is_not_known_any_more_can_be_replaced(database: Database) -> None:
    schedule = hourly(now_micros())
    job_id = await scheduled(database, schedule, now_micros())
    async with database.write() as session:
        job = await lock(session, Job, job_id)
        job.schedule = {**(job.schedule or {}), "time_zone": "Atlantis/Capital"}
    async with database.write() as session:
        await set_schedule(session, await lock(session, Job, job_id), schedule, paused=False)


async def test_a_tick_that_waits_does_not_fire_while_its_schedule_is_paused_but_one_of_a_backfill_does(
    database: Database,
) -> None:
    since = now_micros() - 3 * HOUR
    first, second = hours(since, 2)
    job_id = await scheduled(database, queued(since), since)
    for tick in (first, second):
        await decide_at(database, job_id, tick)
    async with database.write() as session:
        await pause_schedule(session, await lock(session, Job, job_id))
    await finish_runs(database, job_id)
    async with database.read() as session:
        assert await released_jobs(session) == []
    assert await decide_at(database, job_id, second) == 0
    async with database.write() as session:
        job = await lock(session, Job, job_id)
        assert len(await backfill(session, ME, job, first - HOUR, first - HOUR, again=False)) == 1
    await finish_runs(database, job_id)
    async with database.write() as session:
        await resume_schedule(session, await lock(session, Job, job_id))
    assert await decide_at(database, job_id, second) == 1
    assert [tick for _, tick, _ in await runs(database, job_id)] == [first, first - HOUR, second]


async def test_a_job_that_is_deleted_leaves_no_tick_waiting_and_nothing_to_look_at(database: Database) -> None:
    since = now_micros() - 3 * HOUR
    job_id = await scheduled(database, queued(since), since)
    for tick in hours(since, 2):
        await decide_at(database, job_id, tick)
    async with database.write() as session:
        await delete_job(session, ME, await lock(session, Job, job_id), with_runs=True)
    await finish_runs(database, job_id)
    async with database.read() as session:
        assert await released_jobs(session) == []
        assert await due_jobs(session, now_micros() + HOUR) == []
    assert (await told(database, job_id))[1][1:] == ("skipped", "job_deleted")


async def test_backfills_that_were_refused_or_whose_rows_are_gone_can_be_asked_for_again(database: Database) -> None:
    since = now_micros() - 5 * HOUR
    first, second = hours(since, 2)
    job_id = await scheduled(database, hourly(since), second)

    async def fill(*, again: bool) -> list[str]:
        async with database.write() as session:
            job = await lock(session, Job, job_id)
            keys = [row.key for row in await backfill(session, ME, job, first, second, again=again)]
        await finish_runs(database, job_id)
        return keys

    async with database.write() as session:
        job = await lock(session, Job, job_id)
        await backfill(session, ME, job, first, first, again=False)
        await session.execute(update(Tick).values(outcome="skipped", reason="invalid_field"))
    await finish_runs(database, job_id)
    assert await fill(again=False) == [f"{rfc3339(first)} 2", rfc3339(second)]
    assert await decide_at(database, job_id, second) == 1
    await finish_runs(database, job_id)
    assert await fill(again=True) == [f"{rfc3339(first)} 3", f"{rfc3339(second)} 2"]
    async with database.write() as session:
        await session.execute(delete(Tick).where(Tick.key == rfc3339(second)))
    assert (await fill(again=True))[1] == f"{rfc3339(second)} 3"


@pytest.mark.parametrize("schedule", [
    Schedule(cron="* * * * *", start=LAST), Schedule(cron="0 0 1 1 *", start=LAST, time_zone="Asia/Tokyo"),
    Schedule(every_s=3600, start=LAST, anchor=LAST), Schedule(cron="* * * * *", start=2 * LAST),
])  # fmt: skip
def test_behind_the_last_year_there_is_no_tick(schedule: Schedule) -> None:
    assert [rfc3339(tick) for tick in upcoming(schedule, now_micros(), 5)] in ([], [rfc3339(LAST)])


def test_the_ticks_of_the_first_years_can_be_told() -> None:
    long_ago = from_rfc3339("0001-01-01T00:00:00Z")
    for zone in ("America/New_York", "Asia/Tokyo"):
        assert upcoming(Schedule(cron="0 0 1 1 *", time_zone=zone), long_ago, 1)
    assert upcoming(Schedule(every_s=3600), long_ago, 1)


async def test_no_more_ticks_wait_than_there_is_room_for_and_those_behind_them_say_so(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("state.ticking.MOST_QUEUED", 20)  # a figure, not a function
    many = 25
    since = now_micros() - many * HOUR
    job_id = await scheduled(database, replace(hourly(since), catch_up="all", catch_up_limit=many), since)
    assert await decide_at(database, job_id, now_micros()) == 1
    outcomes = Counter((outcome, reason) for _, outcome, reason in await told(database, job_id))
    assert outcomes[("waiting", "queue")] == 20
    assert outcomes[("skipped", "queue_full")] == 4
