"""What the scheduler looks at: jobs whose tick is due, ticks that wait, and runs that they wait for."""

from collections.abc import Sequence

from sqlalchemy import exists, select

from core.clock import Micros
from state.database import Session, db_now
from state.jobtables import LIVE, Job, Run, Tick
from state.queries.lists import Page, View, page

AT_ONCE = 100
FINAL = ("succeeded", "failed", "stopped")


async def due_jobs(session: Session, now: Micros | None = None) -> Sequence[str]:
    """Jobs with a tick whose time has come, the longest waiting first; at most `AT_ONCE`."""
    clock = db_now() if now is None else now
    query = select(Job.id).where(Job.next_at.is_not(None), Job.status != "deleted", Job.next_at <= clock)
    return list(await session.scalars(query.order_by(Job.next_at).limit(AT_ONCE)))


async def released_jobs(session: Session) -> Sequence[str]:
    """Jobs with a tick that waits and no run under way; at most `AT_ONCE`."""
    live = exists().where(Run.job_id == Tick.job_id, Run.status.not_in(FINAL), LIVE)
    query = select(Tick.job_id).where(Tick.outcome == "waiting", ~live).distinct()
    return list(await session.scalars(query.limit(AT_ONCE)))


async def has_live_run(session: Session, job_id: str) -> bool:
    """Whether a run of the job is under way, paused ones included."""
    return bool(await session.scalar(select(exists().where(Run.job_id == job_id, Run.status.not_in(FINAL)))))


async def live_runs(session: Session, job_id: str) -> Sequence[Run]:
    """The runs of the job that are under way, the oldest first."""
    query = select(Run).where(Run.job_id == job_id, Run.status.not_in(FINAL))
    return list(await session.scalars(query.order_by(Run.number)))


async def waiting_ticks(session: Session, job_id: str, trigger: str | None = None) -> Sequence[Tick]:
    """The ticks of a job that wait for their turn, the oldest first."""
    query = select(Tick).where(Tick.job_id == job_id, Tick.outcome == "waiting")
    if trigger is not None:
        query = query.where(Tick.trigger == trigger)
    return list(await session.scalars(query.order_by(Tick.at, Tick.id)))


async def list_ticks(session: Session, job: Job, view: View) -> Page[Tick]:
    """The ticks of a job that were decided, or wait."""
    return await page(session, select(Tick).where(Tick.job_id == job.id), Tick, view)
