"""Ticks as rows: each instant of a schedule, of a backfill, and each success that starts a run, is decided once.

A job's row is locked while its ticks are decided, and the tick has a unique key: two schedulers, a crash between two
steps, or a clock that is set back cannot make one fire twice; one that does not fire says why.
"""

import logging
from collections.abc import Sequence

from sqlalchemy import func, select

from core.clock import Micros, now_micros, rfc3339
from core.errors import Conflict, FieldProblem, InvalidField, NotFound, Rejected
from core.ids import new_id
from state.advance import lock
from state.database import Session, WriteSession, db_now
from state.jobtables import Job, Run, Tick
from state.operations import Who
from state.queries.schedules import has_live_run, live_runs, waiting_ticks
from state.running import Trigger, act_on_run, begin_run
from state.schedules import Schedule, due, next_due, upcoming

log = logging.getLogger(__name__)
ACTOR = "schedule"  # who starts such a run, as its history names it
MOST_BACKFILLED = 1000


async def set_schedule(session: WriteSession, job: Job, schedule: Schedule | None, *, paused: bool) -> None:
    """Give a locked job a schedule, or none; ticks count from now. One that never ticks is refused.

    Raises `InvalidField`.
    """
    now = await _now(session)
    if schedule is not None and not upcoming(schedule, now, 1):
        detail = "the schedule has no tick from now on"
        raise InvalidField(
            detail, fields=[FieldProblem("/schedule", detail, "look at 'end', or at the dates of 'cron'")]
        )
    job.schedule = None if schedule is None else schedule.kept()
    job.schedule_paused = paused
    _count_from(job, schedule, now)
    if schedule is None:
        for tick in await waiting_ticks(session, job.id, "schedule"):
            tick.outcome, tick.reason = "skipped", "schedule_removed"


async def pause_schedule(session: WriteSession, job: Job) -> None:
    """No tick of a locked job fires until it is resumed; runs that are under way go on."""
    schedule = _schedule_of(job)
    if not job.schedule_paused:
        job.schedule_paused, job.next_at = True, None
        _count_from(job, schedule, await _now(session), keeps=True)


async def resume_schedule(session: WriteSession, job: Job) -> None:
    """Tick again from now on; what fell into the pause is told as skipped, in one row."""
    schedule = _schedule_of(job)
    if not job.schedule_paused:
        return
    now = await _now(session)
    paused = next(schedule.ticks(job.scheduled_since or now), now)
    if paused < now:
        _tell_gap(session, job, (paused, now), "paused")
    job.schedule_paused = False
    _count_from(job, schedule, now)


async def decide(session: WriteSession, job_id: str, now: Micros | None = None) -> int:
    """Decide a job's ticks up to now, the database's clock; answers how many runs began.

    Raises what `begin_run` does when that is for want of something that comes back (`Unavailable`): nothing is decided
    then, and the next look tries again.
    """
    job = await lock(session, Job, job_id)
    began = await _release(session, job)
    if job.schedule is None or job.schedule_paused or job.status != "active" or job.scheduled_since is None:
        return began
    schedule, now = Schedule.of(job.schedule), await _now(session) if now is None else now
    found = due(schedule, job.id, job.scheduled_since, now)
    if found.decided is None:
        job.next_at = next_due(schedule, job.id, job.scheduled_since)
        return began
    if found.gap is not None:
        _tell_gap(session, job, found.gap, "missed")
    for tick in found.missed:
        _tell(session, job, tick, "skipped", "missed")
    for tick in found.late:
        # What is caught up fires in turn: there would be no sense in skipping it for the one before.
        began += await _fire(session, job, tick, "queue" if schedule.catch_up == "all" else schedule.overlap)
    for tick in found.fresh:
        began += await _fire(session, job, tick, schedule.overlap)
    job.scheduled_since = found.decided
    job.next_at = next_due(schedule, job.id, found.decided)
    return began


async def backfill(
    session: WriteSession, who: Who, job: Job, start: Micros, end: Micros, *, again: bool
) -> Sequence[Tick]:
    """Queue a run for each tick of a locked job's schedule from `start` to `end` (both included), in order.

    Those that ran already are left out, or with `again` run once more. They run one after another. Raises
    `InvalidField`, `NoSchedule`.
    """
    schedule = _schedule_of(job)
    found = [tick for tick in upcoming(schedule, start - 1, MOST_BACKFILLED + 1) if tick <= end]
    if len(found) > MOST_BACKFILLED:
        detail = f"the range has more than {MOST_BACKFILLED} ticks"
        raise InvalidField(detail, fields=[FieldProblem("/to", detail, "fill it in parts")])
    ran = await _ran(session, job, start, end)
    rows = []
    for tick in found:
        times = ran.get(tick, 0)
        if times == 0 or again:
            key = rfc3339(tick) if times == 0 else f"{rfc3339(tick)} {times + 1}"
            rows.append(_row(job, "backfill", key, tick, "waiting", who.actor[:80]))
    session.add_all(rows)
    await session.flush()
    await _release(session, job)
    return rows


async def _fire(session: WriteSession, job: Job, tick: Micros, overlap: str) -> int:
    """Begin the tick's run, or let it wait, or skip it; answers how many runs began."""
    if not await has_live_run(session, job.id) and not await waiting_ticks(session, job.id):
        return await _begin(session, job, _tell(session, job, tick, "fired", None))
    if overlap == "skip":
        _tell(session, job, tick, "skipped", "overlap")
        return 0
    if overlap == "replace":
        for older in await waiting_ticks(session, job.id, "schedule"):
            older.outcome, older.reason = "skipped", "replaced"
        for run in await live_runs(session, job.id):
            if run.status != "stopping":
                await act_on_run(session, _scheduler(job), await lock(session, Run, run.id), "stop")
    _tell(session, job, tick, "waiting", overlap)
    return 0


async def _release(session: WriteSession, job: Job) -> int:
    """Begin the run of the oldest tick that waits, where nothing is under way; answers how many began."""
    if job.status != "active" or await has_live_run(session, job.id):
        return 0
    for tick in await waiting_ticks(session, job.id):
        if await _begin(session, job, tick):
            return 1
    return 0


async def _begin(session: WriteSession, job: Job, tick: Tick) -> int:
    """Begin a tick's run; one that is refused for good is skipped and says why."""
    try:
        async with session.part():
            trigger: Trigger = "backfill" if tick.trigger == "backfill" else "schedule"
            run, _ = await begin_run(session, _scheduler(job), job, trigger, scheduled_for=tick.at)
    except (Rejected, Conflict, NotFound) as error:
        log.warning("job %s: the tick of %s starts no run: %s", job.id, rfc3339(tick.at), error.message)
        tick.outcome, tick.reason = "skipped", error.code[:80]
        return 0
    tick.outcome, tick.run_id = "fired", run.id
    return 1


def _scheduler(job: Job) -> Who:
    return Who(job.tenant_id, ACTOR, "admin")


def _tell(session: WriteSession, job: Job, tick: Micros, outcome: str, reason: str | None) -> Tick:
    row = _row(job, "schedule", rfc3339(tick), tick, outcome, reason)
    session.add(row)
    return row


def _tell_gap(session: WriteSession, job: Job, gap: tuple[Micros, Micros], reason: str) -> None:
    """One row for all ticks from the first to the end of a gap: a year of minutes would be half a million."""
    first, end = gap
    session.add(_row(job, "schedule", f"{rfc3339(first)}/{rfc3339(end)}", first, "skipped", reason))


def _row(job: Job, trigger: str, key: str, tick: Micros, outcome: str, reason: str | None) -> Tick:
    return Tick(
        id=new_id("tck"),
        tenant_id=job.tenant_id,
        created_at=now_micros(),
        job_id=job.id,
        trigger=trigger,
        key=key,
        at=tick,
        outcome=outcome,
        reason=reason,
    )


async def _ran(session: Session, job: Job, start: Micros, end: Micros) -> dict[Micros, int]:
    """How often each tick of the range fired or waits to."""
    query = select(Tick.at, func.count().label("times")).where(Tick.job_id == job.id, Tick.at.between(start, end))
    found = await session.execute(query.where(Tick.outcome != "skipped").group_by(Tick.at))
    return {row.at: row.times for row in found}


def _schedule_of(job: Job) -> Schedule:
    if job.schedule is None:
        raise NoSchedule(f"job '{job.name}' has no schedule; give it one with PUT /api/v1/jobs/{job.name}/schedule")
    return Schedule.of(job.schedule)


def _count_from(job: Job, schedule: Schedule | None, now: Micros, *, keeps: bool = False) -> None:
    """Ticks later than now are to come; while paused, the row remembers since when."""
    job.scheduled_since = now if schedule is not None else None
    is_live = schedule is not None and not job.schedule_paused
    job.next_at = next_due(schedule, job.id, now) if is_live and schedule is not None else None
    if not keeps:
        job.edition += 1
        job.updated_at = now_micros()


async def _now(session: Session) -> Micros:
    return int(await session.scalar(select(db_now())) or 0)


class NoSchedule(Conflict):
    """What is asked of a schedule needs one."""

    code, title = "no_schedule", "The job has no schedule"
