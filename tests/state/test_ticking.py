"""Each tick is decided once: two schedulers at a time, transactions that are cut off, clocks that are set back."""

import asyncio
import random
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from core.clock import Micros, from_rfc3339, now_micros, rfc3339, to_micros
from core.errors import InvalidField
from core.ids import new_id
from state.advance import advance, lock
from state.database import Database, WriteSession
from state.history import begin
from state.jobtables import Job, Run, Tick
from state.migrate import DEFAULT_TENANT
from state.queries.schedules import due_jobs, released_jobs
from state.schedules import Schedule, upcoming
from state.sweeping import forget_old
from state.switches import switch_off, switch_on
from state.ticking import NoSchedule, backfill, decide, pause_schedule, resume_schedule, set_schedule
from tests.state.rows import ME, TEST

pytestmark = pytest.mark.usefixtures("database")
HOUR = to_micros(timedelta(hours=1))


def hourly(since: Micros) -> Schedule:
    """A tick each hour, half an hour off from this instant: a test that begins then meets none by its own clock."""
    return Schedule(cron=f"{(since // 60_000_000 + 30) % 60} * * * *")


class CutOff(Exception):
    """A process that dies before its commit."""


async def make_job(session: WriteSession, name: str = "nightly") -> Job:
    now = now_micros()
    job = Job(
        id=new_id("job"),
        tenant_id=DEFAULT_TENANT,
        created_at=now,
        updated_at=now,
        tags=[],
        name=name,
        kind="batch",
        spec={"input": {"uri": "https://example.com/rows.csv"}},
        env_names=[],
    )
    await begin(session, job, TEST)
    return job


async def scheduled(database: Database, schedule: Schedule, since: Micros, name: str = "nightly") -> str:
    """A job whose ticks count from an instant of the past."""
    async with database.write() as session:
        job = await make_job(session, name)
        await set_schedule(session, job, schedule, paused=False)
        job.scheduled_since = since
        return job.id


async def decide_at(database: Database, job_id: str, now: Micros) -> int:
    async with database.write() as session:
        return await decide(session, job_id, now)


async def finish_runs(database: Database, job_id: str) -> None:
    async with database.write() as session:
        rows = select(Run.id).where(Run.job_id == job_id, Run.status.in_(["queued", "running", "stopping"]))
        for run_id in await session.scalars(rows):
            run = await lock(session, Run, run_id)
            if run.status == "stopping":
                await advance(session, run, "stopped", TEST)
            else:
                await advance(session, run, "start", TEST)
                await advance(session, run, "succeed", TEST)


async def told(database: Database, job_id: str) -> list[tuple[str, str, str | None]]:
    """What became of the ticks of a job, in order: the key, the outcome, the reason."""
    async with database.read() as session:
        rows = await session.scalars(select(Tick).where(Tick.job_id == job_id).order_by(Tick.at, Tick.id))
        return [(row.key, row.outcome, row.reason) for row in rows]


async def runs(database: Database, job_id: str) -> list[tuple[str, Micros | None, str]]:
    async with database.read() as session:
        rows = await session.scalars(select(Run).where(Run.job_id == job_id).order_by(Run.number))
        return [(row.trigger, row.scheduled_for, row.status) for row in rows]


def hours(since: Micros, count: int) -> list[Micros]:
    return upcoming(hourly(since), since, count)


async def test_a_tick_starts_a_run_that_knows_what_it_is_for(database: Database) -> None:
    since = now_micros() - HOUR
    job_id = await scheduled(database, hourly(since), since)
    (tick,) = hours(since, 1)
    assert await decide_at(database, job_id, tick - 1) == 0
    assert await decide_at(database, job_id, tick) == 1
    assert await decide_at(database, job_id, tick) == 0
    assert await runs(database, job_id) == [("schedule", tick, "queued")]
    assert await told(database, job_id) == [(rfc3339(tick), "fired", None)]
    async with database.read() as session:
        job = await session.get_one(Job, job_id)
        assert (job.scheduled_since, job.next_at) == (tick, tick + HOUR)


async def test_two_schedulers_at_once_and_a_clock_set_back_fire_a_tick_once(database: Database) -> None:
    since = now_micros() - HOUR
    job_id = await scheduled(database, hourly(since), since)
    first, second = hours(since, 2)
    began = await asyncio.gather(*(decide_at(database, job_id, first + 1000) for _ in range(4)))
    assert sorted(began) == [0, 0, 0, 1]
    await finish_runs(database, job_id)
    assert await decide_at(database, job_id, second) == 1
    await finish_runs(database, job_id)
    assert await decide_at(database, job_id, first) == 0  # the clock was set back by an hour
    assert await decide_at(database, job_id, second) == 0
    assert [tick for _, tick, _ in await runs(database, job_id)] == [first, second]


async def test_a_job_under_way_skips_its_tick_and_says_so(database: Database) -> None:
    since = now_micros() - HOUR
    job_id = await scheduled(database, hourly(since), since)
    first, second, third = hours(since, 3)
    for tick in (first, second):
        await decide_at(database, job_id, tick)
    await finish_runs(database, job_id)
    await decide_at(database, job_id, third)
    outcomes = [("fired", None), ("skipped", "overlap"), ("fired", None)]
    assert [(outcome, reason) for _, outcome, reason in await told(database, job_id)] == outcomes


async def test_queued_ticks_fire_one_after_another(database: Database) -> None:
    since = now_micros() - HOUR
    job_id = await scheduled(database, replace(hourly(since), overlap="queue"), since)
    ticks = hours(since, 3)
    assert [await decide_at(database, job_id, tick) for tick in ticks] == [1, 0, 0]
    for _ in range(2):
        async with database.read() as session:
            assert await released_jobs(session) == []
        await finish_runs(database, job_id)
        async with database.read() as session:
            assert await released_jobs(session) == [job_id]
        assert await decide_at(database, job_id, ticks[-1]) == 1
    assert [tick for _, tick, _ in await runs(database, job_id)] == ticks


async def test_a_tick_that_replaces_stops_what_is_under_way_and_fires_after_it(database: Database) -> None:
    since = now_micros() - HOUR
    job_id = await scheduled(database, replace(hourly(since), overlap="replace"), since)
    first, second, third = hours(since, 3)
    for tick in (first, second, third):
        await decide_at(database, job_id, tick)
    assert await runs(database, job_id) == [("schedule", first, "stopping")]
    await finish_runs(database, job_id)
    assert await decide_at(database, job_id, third) == 1
    assert [(outcome, reason) for _, outcome, reason in await told(database, job_id)] == [
        ("fired", None),
        ("skipped", "replaced"),
        ("fired", "replace"),
    ]
    assert (await runs(database, job_id))[1:] == [("schedule", third, "queued")]


async def test_what_was_missed_while_the_platform_was_away_is_caught_up_in_turn(database: Database) -> None:
    since = now_micros() - 5 * HOUR
    job_id = await scheduled(database, replace(hourly(since), catch_up="all", catch_up_limit=3), since)
    ticks = hours(since, 4)
    now = ticks[-1] + 20 * 60_000_000
    while (await told(database, job_id))[-1:] != [(rfc3339(ticks[-1]), "fired", "queue")]:
        await decide_at(database, job_id, now)
        await finish_runs(database, job_id)
    assert [tick for _, tick, _ in await runs(database, job_id)] == ticks[1:]
    assert (await told(database, job_id))[0] == (rfc3339(ticks[0]), "skipped", "missed")


async def test_a_pause_is_told_in_one_row_and_nothing_fires_in_it(database: Database) -> None:
    since = now_micros() - 3 * HOUR
    job_id = await scheduled(database, hourly(since), since)
    async with database.write() as session:
        await pause_schedule(session, await lock(session, Job, job_id))
    assert await decide_at(database, job_id, now_micros()) == 0
    async with database.write() as session:
        await resume_schedule(session, await lock(session, Job, job_id))
    ((key, outcome, reason),) = await told(database, job_id)
    assert (key.partition("/")[0], outcome, reason) == (rfc3339(hours(since, 1)[0]), "skipped", "paused")
    assert await decide_at(database, job_id, now_micros()) == 0
    assert await runs(database, job_id) == []


async def test_a_backfill_runs_each_tick_of_the_range_that_has_not_run(database: Database) -> None:
    since = now_micros() - 5 * HOUR
    ticks = hours(since, 4)
    job_id = await scheduled(database, hourly(since), ticks[0])
    assert await decide_at(database, job_id, ticks[1]) == 1
    await finish_runs(database, job_id)
    async with database.write() as session:
        job = await lock(session, Job, job_id)
        assert await backfill(session, ME, job, ticks[1], ticks[3], again=False) == []  # they come by themselves
        job.scheduled_since = ticks[3]
        queued = await backfill(session, ME, job, ticks[0], ticks[3], again=False)
        assert [row.at for row in queued] == [ticks[0], ticks[2], ticks[3]]
    for _ in range(2):
        await finish_runs(database, job_id)
        assert await decide_at(database, job_id, ticks[1]) == 1
    await finish_runs(database, job_id)
    expected = [("schedule", ticks[1]), *(("backfill", tick) for tick in (ticks[0], ticks[2], ticks[3]))]
    assert [(trigger, tick) for trigger, tick, _ in await runs(database, job_id)] == expected
    async with database.write() as session:
        job = await lock(session, Job, job_id)
        assert await backfill(session, ME, job, ticks[0], ticks[3], again=False) == []
        again = await backfill(session, ME, job, ticks[0], ticks[0], again=True)
        assert [row.key for row in again] == [f"{rfc3339(ticks[0])} 2"]


async def test_a_backfill_waits_while_schedules_are_switched_off(database: Database) -> None:
    since = now_micros() - 5 * HOUR
    ticks = hours(since, 2)
    job_id = await scheduled(database, hourly(since), ticks[1])
    async with database.write() as session:
        await switch_off(session, "schedules", "ops", "maintenance", None)
        job = await lock(session, Job, job_id)
        assert len(await backfill(session, ME, job, ticks[0], ticks[1], again=False)) == 2
    assert await runs(database, job_id) == []
    async with database.write() as session:
        await switch_on(session, "schedules")
    assert await decide_at(database, job_id, ticks[1]) == 1


async def test_a_schedule_without_a_tick_to_come_and_a_backfill_without_a_schedule_are_refused(
    database: Database,
) -> None:
    async with database.write() as session:
        job = await make_job(session)
        with pytest.raises(InvalidField, match="no tick"):
            await set_schedule(session, job, Schedule(at=now_micros() - HOUR), paused=False)
        with pytest.raises(NoSchedule):
            await backfill(session, ME, job, 0, HOUR, again=False)


async def test_a_schedule_that_is_taken_away_lets_nothing_fire_that_waited_for_its_turn(database: Database) -> None:
    since = now_micros() - HOUR
    job_id = await scheduled(database, replace(hourly(since), overlap="queue"), since)
    for tick in hours(since, 2):
        await decide_at(database, job_id, tick)
    async with database.write() as session:
        await set_schedule(session, await lock(session, Job, job_id), None, paused=False)
    await finish_runs(database, job_id)
    assert await decide_at(database, job_id, now_micros()) == 0
    assert (await told(database, job_id))[1][1:] == ("skipped", "schedule_removed")


async def test_a_tick_whose_run_is_refused_says_why_and_the_next_one_fires(database: Database) -> None:
    since = now_micros() - HOUR
    job_id = await scheduled(database, hourly(since), since)
    first, second = hours(since, 2)
    async with database.write() as session:
        await session.execute(update(Job).where(Job.id == job_id).values(next_at=first))
    async with database.read() as session:
        assert await due_jobs(session, first - 1) == []
        assert await due_jobs(session, first) == [job_id]
    assert await decide_at(database, job_id, first) == 1
    await finish_runs(database, job_id)
    assert await decide_at(database, job_id, second) == 1


async def test_every_tick_through_a_change_of_the_clock_fires_once_though_schedulers_die(database: Database) -> None:
    schedule = Schedule(cron="15,45 1-3 * * *", time_zone="Europe/Berlin", jitter_s=30)
    begin, end, dice = from_rfc3339("2026-10-24T23:00:00Z"), from_rfc3339("2026-10-25T03:30:00Z"), random.Random(7)
    job_id = await scheduled(database, schedule, begin)
    expected = [tick for tick in upcoming(schedule, begin, 60) if tick <= end]

    async def look(now: Micros) -> None:
        async with database.write() as session:
            await decide(session, job_id, now)
            if dice.random() < 0.3:
                raise CutOff

    now = begin
    while now < end:
        now += int(dice.uniform(5, 20) * 60_000_000)
        late = now - (20 * 60_000_000 if dice.random() < 0.2 else 0)  # one of the clocks is set back now and then
        await asyncio.gather(look(now), look(late), return_exceptions=True)
        await finish_runs(database, job_id)
    await decide_at(database, job_id, now)
    assert [from_rfc3339(key) for key, _, _ in await told(database, job_id)] == expected


async def test_what_became_of_ticks_is_forgotten_when_it_is_old_and_what_waits_is_kept(database: Database) -> None:
    since = now_micros() - HOUR
    job_id = await scheduled(database, replace(hourly(since), overlap="queue"), since)
    for tick in hours(since, 2):
        await decide_at(database, job_id, tick)
    async with database.write() as session:
        assert await forget_old(session, "tick", since, 10) == 0
        assert await forget_old(session, "tick", now_micros() + HOUR, 10) == 1
    assert [outcome for _, outcome, _ in await told(database, job_id)] == ["waiting"]
