"""Wishes for jobs: create, change, delete, each with its operation in the caller's one transaction.

What a job needs is locked where it is named: a model that a job runs is not deleted, nor a version that it names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import update

from core.clock import now_micros
from core.errors import Conflict, FieldProblem, InUse, InvalidField, NameTaken, NotFound, named_by
from core.ids import new_id
from state.advance import advance, lock
from state.cataloguing import Description, Value, VersionNotReady, hold_ready_version
from state.database import Session, WriteSession
from state.datasets import check_ready
from state.datatables import Dataset
from state.environments import NOTHING, Environment
from state.history import By, begin
from state.jobtables import Job, Run, Tick
from state.operations import Who, record, submit
from state.queries.datasets import find_dataset
from state.queries.jobs import find_job, followers_of, live_runs, seek_job
from state.queries.models import find_model
from state.queries.versions import find_version
from state.releases import check_all_know
from state.running import KNOWN_SINCE, RunSpec, act_on_run, hold_run, input_dataset
from state.scripting import ScriptNeeds
from state.tables import Model, Operation, Version

MOST_LIVE = 100  # runs that one transaction ends with their job
MOST_FOLLOWERS = 20  # jobs whose runs one success begins, in one transaction
LONGEST_CHAIN = 50  # jobs that follow each other


class TooManyRuns(Conflict):
    """More runs are under way than one transaction ends while others wait."""

    code, title = "too_many_runs", "Too many runs are under way"


class TooManyFollowers(Conflict):
    """More jobs would run after one than its success begins in one transaction."""

    code, title = "too_many_followers", "Too many jobs run after it"


@dataclass(frozen=True, slots=True)
class Needs:
    """What a batch needs, as it is now: the version is locked and ready; the dataset, where one is named, is not
    failed."""

    model: Model
    version: Version
    dataset: Dataset | None

    @property
    def model_id(self) -> str | None:
        """What the job holds."""
        return self.model.id

    @property
    def dataset_id(self) -> str | None:
        """What the job holds, where it is one of ours."""
        return None if self.dataset is None else self.dataset.id

    @property
    def script_digest(self) -> str | None:
        """A batch has none."""
        return None


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job as its owner wrote it, checked. `after` is the name of another job."""

    name: str
    kind: str
    spec: RunSpec
    environment: Environment = NOTHING
    after: str | None = None
    about: Description = field(default_factory=Description)


@dataclass(frozen=True, slots=True)
class JobChange:
    """What becomes of a job; None leaves a part as it is. `names_after`: whether `after` says anything."""

    spec: RunSpec | None = None
    environment: Environment | None = None
    names_after: bool = False
    after: str | None = None
    about: Mapping[str, Value] = field(default_factory=dict)


async def needs_of(session: WriteSession, tenant_id: str, spec: RunSpec, *, has_data: bool = True) -> Needs:
    """What the spec of a batch names; without `has_data` its dataset need not be there, for another job makes it first.

    Raises `NotFound`, `VersionNotReady`, `DatasetNotReady`, each with its pointer.
    """
    with named_by("/model"):
        model = await find_model(session, tenant_id, spec["model"])
    with named_by("/version"):
        version = await hold_ready_version(session, model, spec["version"])
    with named_by("/input/dataset"):
        dataset = await input_dataset(session, tenant_id, spec)
        name = spec["input"].get("dataset")
        if dataset is None and name is not None and has_data:
            raise NotFound(f"no dataset is named '{name}'; GET /api/v1/datasets lists them")
        if dataset is not None and dataset.status == "failed":
            await check_ready(session, dataset)
    return Needs(model, version, dataset)


async def read_needs(session: Session, tenant_id: str, spec: RunSpec) -> Needs:
    """The same without holding any of it. Raises what `needs_of` does."""
    with named_by("/model"):
        model = await find_model(session, tenant_id, spec["model"])
    with named_by("/version"):
        version = await find_version(session, model, spec["version"])
        if version.status != "ready":
            what = f"version {version.number} of model '{model.name}' is {version.status}"
            raise VersionNotReady(f"{what}; name a version that is ready", current_status=version.status)
    with named_by("/input/dataset"):
        name = spec["input"].get("dataset")
        dataset = None if name is None else await find_dataset(session, tenant_id, name)
        if dataset is not None:
            await check_ready(session, dataset)
    return Needs(model, version, dataset)


async def create_job(
    session: WriteSession, who: Who, job_id: str, new: NewJob, needs: Needs | ScriptNeeds
) -> tuple[Job, Operation]:
    """A job; its environment is bound to `job_id`.

    Raises `NameTaken`, `NotFound`, `InvalidField`, `UpgradeUnderWay`.
    """
    await check_all_know(session, KNOWN_SINCE, "a job")
    if await seek_job(session, who.tenant_id, new.name) is not None:
        detail = f"a job named '{new.name}' exists"
        raise NameTaken(
            f"{detail}; PATCH changes it, or take another name",
            fields=[FieldProblem("/name", detail, "take another name, or PATCH that one")],
            holder=f"/api/v1/jobs/{new.name}",
        )
    now = now_micros()
    job = Job(
        id=job_id,
        tenant_id=who.tenant_id,
        created_at=now,
        updated_at=now,
        name=new.name,
        kind=new.kind,
        model_id=needs.model_id,
        dataset_id=needs.dataset_id,
        script_digest=needs.script_digest,
        spec=dict(new.spec),
        env_sealed=new.environment.sealed,
        env_names=list(new.environment.names),
        after_id=await _before(session, who, job_id, new.name, new.after),
        display_name=new.about.display_name,
        description=new.about.description,
        tags=list(new.about.tags),
    )
    await begin(session, job, By(who.actor))
    return job, await record(session, who, "job.create", job)


def new_job_id() -> str:
    """An id for a job that is to be made: its environment is sealed for it before."""
    return new_id("job")


async def hold_job(session: WriteSession, who: Who, name: str) -> Job:
    """The tenant's job, locked. Raises `NotFound`."""
    job = await lock(session, Job, (await find_job(session, who.tenant_id, name)).id)
    if job.status != "active":
        raise NotFound(f"job '{name[:60]}' is being deleted")
    return job


async def change_job(
    session: WriteSession, who: Who, job: Job, change: JobChange, needs: Needs | ScriptNeeds | None = None
) -> Operation:
    """Change a locked job; runs that were begun stay as they are. A spec comes with its `needs`.

    Raises `NotFound`, `InvalidField`.
    """
    if change.spec is not None and needs is not None:
        job.spec = dict(change.spec)
        job.model_id, job.dataset_id, job.script_digest = needs.model_id, needs.dataset_id, needs.script_digest
    if change.environment is not None:
        job.env_sealed, job.env_names = change.environment.sealed, list(change.environment.names)
    if change.names_after:
        job.after_id = await _before(session, who, job.id, job.name, change.after)
    for name, value in change.about.items():
        setattr(job, name, [] if name == "tags" and value is None else value)
    job.generation += 1
    job.edition += 1
    job.updated_at = now_micros()
    await session.flush()
    session.tell("changed", "job", job.id)
    return await record(session, who, "job.update", job)


async def delete_job(session: WriteSession, who: Who, job: Job, *, with_runs: bool) -> Operation:
    """Delete a locked job and all that its runs kept of their own; their outputs stay. With `with_runs` those that are
    under way are stopped first, which its operation waits for.

    Raises `InUse` naming the runs that are under way, or the jobs that follow this one; `TooManyRuns`.
    """
    followers = await followers_of(session, job.id)
    if followers:
        names = ", ".join(f"'{name}'" for name in followers[:5])
        raise InUse(
            f"{names} {'runs' if len(followers) == 1 else 'run'} after job '{job.name}'; PATCH "
            f'{{"after": null}} there first',
            jobs=[f"/api/v1/jobs/{name}" for name in followers],
        )
    live = await live_runs(session, job.id, MOST_LIVE + 1)
    if not live:
        await _end_waiting(session, job)
        operation = await record(session, who, "job.delete", job)
        by = By(who.actor, operation_id=operation.id)
        await advance(session, job, "delete", by)
        await advance(session, job, "deleted", by, deleted_at=now_micros())
        await forget_runs_of(session, job.id)
        return operation
    if not with_runs:
        raise _under_way(job, [run.number for run in live])
    if len(live) > MOST_LIVE:
        raise TooManyRuns(f"job '{job.name}' has more than {MOST_LIVE} runs under way; stop some of them first")
    await check_all_know(session, KNOWN_SINCE, "deleting a job with its runs")
    await _end_waiting(session, job)
    ends = []
    for each in live:
        run = await hold_run(session, each)
        if run.status not in ("stopping", "succeeded", "failed", "stopped"):
            ends.append({"run": run.number, "operation": (await act_on_run(session, who, run, "stop")).id})
    operation = await submit(session, who, "job.delete", job, runs=ends)
    await advance(session, job, "delete", By(who.actor, operation_id=operation.id))
    return operation


async def _end_waiting(session: WriteSession, job: Job) -> None:
    """No tick of the job has its turn any more."""
    waiting = update(Tick).where(Tick.job_id == job.id, Tick.outcome == "waiting")
    await session.execute(waiting.values(outcome="skipped", reason="job_deleted"))


async def forget_runs_of(session: WriteSession, job_id: str) -> None:
    """Nobody sees the runs of a deleted job any more; the sweeper removes what they kept."""
    await session.execute(
        update(Run).where(Run.job_id == job_id, Run.deleted_at.is_(None)).values(deleted_at=now_micros())
    )


async def _before(session: WriteSession, who: Who, job_id: str, own_name: str, name: str | None) -> str | None:
    """The id of the job whose success starts this one, which must not wait for it in turn."""
    if name is None:
        return None
    with named_by("/after"):
        # Every job on the way is held: two that are changed at the same time must not follow each other.
        found = await lock(session, Job, (await find_job(session, who.tenant_id, name)).id)
        if found.status != "active":
            raise NotFound(f"job '{name}' is being deleted")
        others = [each for each in await followers_of(session, found.id) if each != own_name]
        if len(others) >= MOST_FOLLOWERS:
            raise TooManyFollowers(f"{len(others)} jobs run after job '{name}' already; let this one run after another")
    at: Job | None = found
    for _ in range(LONGEST_CHAIN):
        if at is None:
            return found.id
        if at.id == job_id:
            detail = "the job would follow itself" if at is found else f"'{name}' runs after this job, in the end"
            raise InvalidField(detail, fields=[FieldProblem("/after", detail, "name a job that does not wait for it")])
        at = None if at.after_id is None else await lock(session, Job, at.after_id)
    detail = f"more than {LONGEST_CHAIN} jobs would follow each other"
    raise InvalidField(detail, fields=[FieldProblem("/after", detail, "put several of them into one")])


def _under_way(job: Job, numbers: list[int]) -> InUse:
    shown = ", ".join(str(number) for number in numbers[:5])
    return InUse(
        f"job '{job.name}' has {'a run' if len(numbers) == 1 else 'runs'} under way: {shown}; stop "
        f"{'it' if len(numbers) == 1 else 'them'} first, or let ?cascade=true do that",
        runs=[f"/api/v1/jobs/{job.name}/runs/{number}" for number in numbers[:50]],
    )
