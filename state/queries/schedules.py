"""What the scheduler looks at: jobs whose tick is due, ticks that wait, and runs that they wait for."""

from collections import Counter
from collections.abc import Collection, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Select, exists, func, or_, select

from core.clock import Micros
from state.database import Session, db_now
from state.jobtables import LIVE, Job, Run, Tick
from state.queries.lists import Page, View, page

AT_ONCE = 100
FINAL = ("succeeded", "failed", "stopped")


async def due_jobs(session: Session, now: Micros | None = None, *, but: Collection[str] = ()) -> Sequence[str]:
    """Jobs with a tick whose time has come, the longest waiting first, without some; at most `AT_ONCE`."""
    query = _due_now() if now is None else _due(now)
    return list(await session.scalars(query.where(Job.id.not_in(but)) if but else query))


async def released_jobs(session: Session, *, but: Collection[str] = ()) -> Sequence[str]:
    """Jobs with a tick that may begin and no run under way, without some; at most `AT_ONCE`."""
    query = _released_jobs()
    return list(await session.scalars(query.where(Job.id.not_in(but)) if but else query))


# Asked every second, whether there is a job or not: to make one of these anew takes longer than its answer.


@cache
def _due_now() -> Select[*tuple[Any, ...]]:
    return _due(db_now())


def _due(now: Micros | db_now) -> Select[*tuple[Any, ...]]:
    query = select(Job.id).where(Job.next_at.is_not(None), Job.status != "deleted", Job.next_at <= now)
    return query.where(Job.status == "active").order_by(Job.next_at).limit(AT_ONCE)


@cache
def _released_jobs() -> Select[*tuple[Any, ...]]:
    live = exists().where(Run.job_id == Tick.job_id, Run.status.not_in(FINAL), LIVE)
    query = select(Tick.job_id).join(Job, Job.id == Tick.job_id).where(Tick.outcome == "waiting", ~live)
    query = query.where(Job.status == "active", or_(Tick.trigger != "schedule", Job.schedule_paused.is_(False)))
    return query.distinct().limit(AT_ONCE)


async def has_live_run(session: Session, job_id: str) -> bool:
    """Whether a run of the job is under way, paused ones included."""
    return bool(await session.scalar(select(exists().where(Run.job_id == job_id, Run.status.not_in(FINAL)))))


async def live_runs(session: Session, job_id: str) -> Sequence[Run]:
    """The runs of the job that are under way, the oldest first."""
    query = select(Run).where(Run.job_id == job_id, Run.status.not_in(FINAL))
    return list(await session.scalars(query.order_by(Run.number)))


async def count_waiting(session: Session, job_id: str) -> Counter[str]:
    """How many ticks of the job wait for their turn, by what they come from."""
    query = select(Tick.trigger, func.count()).where(Tick.job_id == job_id, Tick.outcome == "waiting")
    found = await session.execute(query.group_by(Tick.trigger))
    return Counter({row[0]: row[1] for row in found})


async def next_waiting(session: Session, job: Job) -> Tick | None:
    """The oldest tick of a job that waits and may begin: while its schedule is paused, one of a backfill."""
    query = select(Tick).where(Tick.job_id == job.id, Tick.outcome == "waiting")
    if job.schedule_paused:
        query = query.where(Tick.trigger != "schedule")
    return (await session.scalars(query.order_by(Tick.at, Tick.id).limit(1))).first()


async def waiting_ticks(session: Session, job_id: str, trigger: str | None = None) -> Sequence[Tick]:
    """The ticks of a job that wait for their turn, the oldest first."""
    query = select(Tick).where(Tick.job_id == job_id, Tick.outcome == "waiting")
    if trigger is not None:
        query = query.where(Tick.trigger == trigger)
    return list(await session.scalars(query.order_by(Tick.at, Tick.id)))


async def list_ticks(session: Session, job: Job, view: View) -> Page[Tick]:
    """The ticks of a job that were decided, or wait."""
    return await page(session, select(Tick).where(Tick.job_id == job.id), Tick, view)
