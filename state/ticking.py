"""Ticks as rows: each instant of a schedule, of a backfill, and each success that starts a run, is decided once.

A job's row is locked while its ticks are decided, and the tick has a unique key: two schedulers, a crash between two
steps, or a clock that is set back cannot make one fire twice; one that does not fire says why.
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice, takewhile
from zoneinfo import ZoneInfoNotFoundError

from sqlalchemy import select

from core.clock import Micros, now_micros, rfc3339
from core.errors import Conflict, FieldProblem, InvalidField, NotFound, Rejected
from core.ids import new_id
from state.advance import lock
from state.database import Session, WriteSession, db_now
from state.jobtables import Job, Run, Tick
from state.operations import Who
from state.queries.schedules import count_waiting, has_live_run, live_runs, next_waiting, waiting_ticks
from state.running import Trigger, act_on_run, begin_run
from state.schedules import Schedule, due, next_due, upcoming
from state.switches import read_switches

log = logging.getLogger(__name__)
ACTOR = "schedule"  # who starts such a run, as its history names it
BACKFILLS = "schedules"  # the switch that keeps them from beginning, as it keeps ticks
MOST_BACKFILLED = 1000
MOST_QUEUED = 1000  # ticks that wait for their turn: a job that falls behind its schedule does so for ever
Counted = Callable[[Micros], Schedule]
MOST_REFUSED = 20  # waiting ticks that are skipped in one transaction because their runs are refused


async def set_schedule(session: WriteSession, job: Job, wish: Schedule | Counted | None, *, paused: bool) -> None:
    """Give a locked job a schedule, or none; ticks count from now. One that never ticks is refused.

    `wish` may be what makes one of the instant that it counts from: of the clock that its ticks go by.
    Raises `InvalidField`.
    """
    now = await _now(session)
    schedule = wish(now) if callable(wish) else wish
    with suppress(ZoneInfoNotFoundError):  # a zone that is not known any more is one reason to change the schedule
        _tell_undecided(session, job, now)
    if schedule is not None and not upcoming(schedule, now, 1):
        detail = "the schedule has no tick from now on"
        hint = "look at 'end', or at the dates of 'cron'" if schedule.at is None else "'at' is a time to come"
        raise InvalidField(detail, fields=[FieldProblem("/schedule", detail, hint)])
    job.schedule = None if schedule is None else schedule.kept()
    job.schedule_paused = paused
    _count_from(job, schedule, now)
    if schedule is None:
        for tick in await waiting_ticks(session, job.id, "schedule"):
            tick.outcome, tick.reason = "skipped", "schedule_removed"


async def pause_schedule(session: WriteSession, job: Job) -> None:
    """No tick of a locked job fires until it is resumed; runs that are under way go on."""
    _schedule_of(job)
    if not job.schedule_paused:  # since when it counts stays: what is not decided yet is told by who resumes it
        job.schedule_paused, job.next_at = True, None
        job.edition += 1
        job.updated_at = now_micros()


async def resume_schedule(session: WriteSession, job: Job) -> None:
    """Tick again from now on; what fell into the pause is told as skipped, in one row."""
    schedule = _schedule_of(job)
    if not job.schedule_paused:
        return
    now = await _now(session)
    _tell_undecided(session, job, now)
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
    told = await _told(session, job, job.scheduled_since, found.decided)
    if found.gap is not None and _gap_key(found.gap) not in told:
        _tell_gap(session, job, found.gap, "missed")
    missed, late, fresh = (
        [tick for tick in ticks if rfc3339(tick) not in told] for ticks in (found.missed, found.late, found.fresh)
    )
    for tick in missed:
        _tell(session, job, tick, "skipped", "missed")
    # What is caught up fires in turn: there would be no sense in skipping it for the one before.
    caught_up = "queue" if schedule.catch_up == "all" else schedule.overlap
    turns = [*((tick, caught_up) for tick in late), *((tick, schedule.overlap) for tick in fresh)]
    began += await _take_turns(session, job, turns)
    job.scheduled_since = found.decided
    job.next_at = next_due(schedule, job.id, found.decided)
    return began


async def backfill(
    session: WriteSession, who: Who, job: Job, start: Micros, end: Micros, *, again: bool
) -> Sequence[Tick]:
    """Queue a run for each tick of a locked job's schedule from `start` to `end` (both included), in order.

    Those that ran already are left out, or with `again` run once more; so are those that are yet to be decided, which
    come by themselves. They run one after another, and none while schedules are switched off. Raises `InvalidField`,
    `NoSchedule`.
    """
    schedule, now = _schedule_of(job), await _now(session)
    end = min(end, now if job.schedule_paused or job.scheduled_since is None else job.scheduled_since)
    # Not a tick beyond the end: of a cron that ticks every fourth year these would be those of four millennia.
    found = list(islice(takewhile(lambda tick: tick <= end, schedule.ticks(start - 1)), MOST_BACKFILLED + 1))
    if len(found) > MOST_BACKFILLED:
        detail = f"the range has more than {MOST_BACKFILLED} ticks"
        raise InvalidField(detail, fields=[FieldProblem("/to", detail, "fill it in parts")])
    ran, tries = await _ran(session, job, start, end)
    rows = []
    for tick in found:
        if again or not ran[tick]:
            number = max(ran[tick], tries[tick]) + 1  # also of those that were refused, or whose rows are gone
            key = rfc3339(tick) if number == 1 else f"{rfc3339(tick)} {number}"
            rows.append(_row(job, "backfill", key, tick, "waiting", who.actor[:80]))
    session.add_all(rows)
    await session.flush()
    if BACKFILLS not in await read_switches(session):  # what waits begins once the switch is on, by the scheduler
        await _release(session, job)
    return rows


async def _take_turns(session: WriteSession, job: Job, turns: Sequence[tuple[Micros, str]]) -> int:
    """Begin the run of each tick, or let it wait, or skip it, by its overlap; answers how many runs began."""
    if not turns:
        return 0
    waiting = await count_waiting(session, job.id)
    began, queued = 0, waiting["schedule"]
    is_busy = waiting.total() > 0 or await has_live_run(session, job.id)
    for tick, overlap in turns:
        if not is_busy:
            begun = await _begin(session, job, _tell(session, job, tick, "fired", None))
            began, is_busy = began + begun, begun > 0
        elif overlap == "skip":
            _tell(session, job, tick, "skipped", "overlap")
        elif overlap == "queue" and queued >= MOST_QUEUED:
            _tell(session, job, tick, "skipped", "queue_full")
        else:
            if overlap == "replace":
                await _make_way(session, job)
            _tell(session, job, tick, "waiting", overlap)
            queued += 1
    return began


async def _make_way(session: WriteSession, job: Job) -> None:
    """Stop what is under way, and skip what waits."""
    for older in await waiting_ticks(session, job.id, "schedule"):
        older.outcome, older.reason = "skipped", "replaced"
    for run in await live_runs(session, job.id):
        if run.status != "stopping":
            await act_on_run(session, _scheduler(job), await lock(session, Run, run.id), "stop")


async def _release(session: WriteSession, job: Job) -> int:
    """Begin the run of the oldest tick that waits, where nothing is under way; answers how many began."""
    if job.status != "active" or await has_live_run(session, job.id):
        return 0
    for _ in range(MOST_REFUSED):
        tick = await next_waiting(session, job)
        if tick is None:
            return 0
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
        await session.refresh(job)  # what was changed and taken back is not known any more
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
    session.add(_row(job, "schedule", _gap_key(gap), gap[0], "skipped", reason))


def _tell_undecided(session: WriteSession, job: Job, now: Micros) -> None:
    """What a job's schedule asked for up to now and nobody has decided, as one row: none is skipped silently."""
    if job.schedule is None or job.scheduled_since is None:
        return
    first = next(Schedule.of(job.schedule).ticks(job.scheduled_since), None)
    if first is not None and first < now:
        _tell_gap(session, job, (first, now), "paused" if job.schedule_paused else "schedule_changed")


def _gap_key(gap: tuple[Micros, Micros]) -> str:
    first, end = gap
    return f"{rfc3339(first)}/{rfc3339(end)}"


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


async def _told(session: Session, job: Job, since: Micros, until: Micros) -> set[str]:
    """Which ticks later than `since` have a row: some, where the clock was set back before they count from it."""
    query = select(Tick.key).where(Tick.job_id == job.id, Tick.trigger == "schedule")
    return set(await session.scalars(query.where(Tick.at > since, Tick.at <= until)))


async def _ran(session: Session, job: Job, start: Micros, end: Micros) -> tuple[Counter[Micros], Counter[Micros]]:
    """How often each tick of the range fired or waits to; and the highest number of a backfill of it."""
    query = select(Tick.at, Tick.trigger, Tick.key, Tick.outcome).where(Tick.job_id == job.id)
    ran, tries = Counter[Micros](), Counter[Micros]()
    for row in await session.execute(query.where(Tick.at.between(start, end))):
        ran[row.at] += row.outcome != "skipped"
        if row.trigger == "backfill":
            tries[row.at] = max(tries[row.at], int(row.key.partition(" ")[2] or 1))
    return ran, tries


def _schedule_of(job: Job) -> Schedule:
    if job.schedule is None:
        raise NoSchedule(f"job '{job.name}' has no schedule; give it one with PUT /api/v1/jobs/{job.name}/schedule")
    return Schedule.of(job.schedule)


def _count_from(job: Job, schedule: Schedule | None, now: Micros) -> None:
    """Ticks later than now are to come; while paused, the row remembers since when."""
    job.scheduled_since = now if schedule is not None else None
    is_live = schedule is not None and not job.schedule_paused
    job.next_at = next_due(schedule, job.id, now) if is_live and schedule is not None else None
    job.edition += 1
    job.updated_at = now_micros()


async def _now(session: Session) -> Micros:
    return int(await session.scalar(select(db_now())) or 0)


class NoSchedule(Conflict):
    """What is asked of a schedule needs one."""

    code, title = "no_schedule", "The job has no schedule"
