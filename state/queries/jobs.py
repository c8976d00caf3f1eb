"""Jobs: finding and listing them, and what is shown of one beside its row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select

from core.errors import NotFound
from state.database import Session
from state.jobtables import LIVE, Job, Run
from state.queries.briefs import with_brief_spec
from state.queries.lists import Page, View, page
from state.queries.rows import among_ids
from state.tables import Model, Operation

SHOWN_USERS = 50


@dataclass(frozen=True, slots=True)
class LastRun:
    """The run that was begun last, where it is still there."""

    number: int
    status: str


@dataclass(frozen=True, slots=True)
class JobFacts:
    """A job, the name that its model has now, the job that it follows, its runs in short, and what happens to it."""

    row: Job
    model: str | None
    after: str | None
    last_run: LastRun | None
    live_runs: int
    operation_id: str | None


async def find_job(session: Session, tenant_id: str, name: str) -> Job:
    """The tenant's job of this name. Raises `NotFound`."""
    job = await seek_job(session, tenant_id, name)
    if job is None:
        raise NotFound(f"no job is named '{name[:60]}'; GET /api/v1/jobs lists them")
    return job


async def seek_job(session: Session, tenant_id: str, name: str) -> Job | None:
    """The same, or nothing."""
    query = select(Job).where(Job.tenant_id == tenant_id, Job.name == name, Job.status != "deleted")
    return (await session.execute(query)).scalar_one_or_none()


async def list_jobs(session: Session, tenant_id: str, view: View, models: Sequence[str] = ()) -> Page[Job]:
    """The tenant's jobs with their specs in brief; with `models` only those that run one of these."""
    query = select(Job).where(Job.tenant_id == tenant_id, Job.status != "deleted")
    if models:
        named = select(Model.id).where(Model.tenant_id == tenant_id, Model.name.in_(models))
        query = query.where(Job.model_id.in_(named))
    return await page(session, query, Job, view, without=("env_sealed",), instead=with_brief_spec(session, Job))


async def describe_jobs(session: Session, jobs: Sequence[Job]) -> list[JobFacts]:
    """Everything that is shown of jobs, in a handful of queries however many they are."""
    ids = [job.id for job in jobs]
    models = await _names(session, Model, [job.model_id for job in jobs if job.model_id])
    befores = await _names(session, Job, [job.after_id for job in jobs if job.after_id])
    last = select(Run.job_id, Run.number, Run.status).join(Job, Job.id == Run.job_id)
    last = last.where(among_ids(session, Run.job_id, ids), Run.number == Job.last_number, Run.deleted_at.is_(None))
    runs = {job_id: LastRun(number, status) for job_id, number, status in await session.execute(last)}
    live = select(Run.job_id, func.count()).where(among_ids(session, Run.job_id, ids), LIVE).group_by(Run.job_id)
    counts = dict((await session.execute(live)).all())
    busy = select(Operation.target_id, Operation.id).where(
        among_ids(session, Operation.target_id, ids), Operation.status.in_(["queued", "running"])
    )
    holders = dict((await session.execute(busy)).all())
    return [
        JobFacts(
            job,
            models.get(job.model_id or ""),
            befores.get(job.after_id or ""),
            runs.get(job.id),
            counts.get(job.id, 0),
            holders.get(job.id),
        )
        for job in jobs
    ]


async def _names(session: Session, table: type[Model] | type[Job], ids: Sequence[str]) -> Mapping[str, str]:
    if not ids:
        return {}
    found = await session.execute(select(table.id, table.name).where(among_ids(session, table.id, sorted(set(ids)))))
    return dict(found.all())


async def live_runs(session: Session, job_id: str, limit: int) -> Sequence[Run]:
    """Runs of a job that have not ended, the oldest first."""
    query = select(Run).where(Run.job_id == job_id, LIVE).order_by(Run.number).limit(limit)
    return list(await session.scalars(query))


async def followers_of(session: Session, job_id: str) -> Sequence[str]:
    """The names of the jobs that run after this one."""
    query = select(Job.name).where(Job.after_id == job_id, Job.status != "deleted").order_by(Job.name)
    return list(await session.scalars(query.limit(SHOWN_USERS)))
