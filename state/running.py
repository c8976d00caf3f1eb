"""Wishes for runs: begin, pause, resume, stop, delete, each with its operation in the caller's one transaction.

The operation of a run spans its whole life, from the first claim to its end (ADR 0030); a newer wish raises the
generation and takes the place of the operation that holds the run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from sqlalchemy import select

from core.clock import Micros, now_micros
from core.errors import IllegalMove, NotFound
from core.ids import new_id
from state.advance import advance, illegal, lock
from state.cataloguing import Description
from state.database import WriteSession
from state.datasets import NewDataset, create_dataset
from state.datatables import Dataset
from state.environments import Environment, environment_of
from state.history import By, begin
from state.jobtables import Job, Run, Tick
from state.machines import RUN
from state.naming import output_name, run_name
from state.operations import Who, held_by, record, submit, supersede, unfinished
from state.queries.datasets import seek_dataset
from state.releases import check_all_know
from state.tables import Operation

RunSpec = Mapping[str, Any]  # what a run goes by, as its owner wrote it, every default filled in
Trigger = Literal["manual", "schedule", "backfill", "after"]
Verb = Literal["pause", "resume", "stop"]
KNOWN_SINCE = "0016"  # an older release has no work of these kinds: one queued operation would stop its lane
LONGEST_FILE_NAME = 200


@dataclass(frozen=True, slots=True)
class Overrides:
    """What one run has otherwise than its job: members of the spec as a whole, and its variables; None: the job's."""

    name: str | None = None
    spec: Mapping[str, Any] = field(default_factory=dict)
    environment: Environment | None = None


AS_THE_JOB_SAYS = Overrides()


async def begin_run(
    session: WriteSession,
    who: Who,
    job: Job,
    trigger: Trigger,
    overrides: Overrides = AS_THE_JOB_SAYS,
    *,
    scheduled_for: Micros | None = None,
) -> tuple[Run, Operation]:
    """The next run of a locked job, queued. Raises `NotFound` for a job that is being deleted, `UpgradeUnderWay`."""
    await check_all_know(session, KNOWN_SINCE, "a run")
    if job.status != "active":
        raise NotFound(f"job '{job.name}' is being deleted")
    job.last_number += 1
    now, spec = now_micros(), {**job.spec, **overrides.spec}
    environment = overrides.environment or environment_of(job)
    run_id = new_id("run")
    dataset = await input_dataset(session, job.tenant_id, spec)
    if "uri" in (spec.get("input") or {}):
        dataset = await _fetched(session, who, job, run_id, spec)
    run = Run(
        id=run_id,
        tenant_id=job.tenant_id,
        created_at=now,
        updated_at=now,
        tags=[],
        job_id=job.id,
        job_name=job.name,
        number=job.last_number,
        name=run_name(overrides.name or spec.get("run_name"), job.name, job.last_number, scheduled_for or now),
        kind=job.kind,
        trigger=trigger,
        scheduled_for=scheduled_for,
        spec=spec,
        dataset_id=None if dataset is None else dataset.id,  # from here on nobody deletes it
        script_digest=(spec.get("script") or {}).get("digest"),
        env_sealed=environment.sealed,
        env_names=list(environment.names),
    )
    await begin(session, run, By(who.actor, trigger))
    return run, await submit(session, who, "run.execute", run, job=job.name, number=run.number)


async def act_on_run(session: WriteSession, who: Who, run: Run, verb: Verb) -> Operation:
    """Pause, resume or stop a locked run. Raises `IllegalMove` with a link to what holds it."""
    older = await unfinished(session, run.id)
    if run.status not in RUN.moves[verb].sources:
        raise held_by(illegal(run, verb), older)
    run.generation += 1
    run.edition += 1
    await session.flush()
    operation = await submit(session, who, f"run.{verb}", run, job=run.job_name, number=run.number)
    by = By(who.actor, operation_id=operation.id)
    await advance(session, run, verb, by)
    await supersede(session, older, operation, by)
    return operation


async def delete_run(session: WriteSession, who: Who, run: Run) -> Operation:
    """Forget a locked run that has ended; its output stays. Raises `IllegalMove`.

    What it kept of its own goes with the next look of the sweeper.
    """
    if run.status not in RUN.final:
        raise held_by(_still_there(run), await unfinished(session, run.id))
    run.deleted_at = run.updated_at = now_micros()
    run.generation += 1
    run.edition += 1
    await session.flush()
    session.tell("changed", "run", run.id)
    return await record(session, who, "run.delete", run, job=run.job_name, number=run.number)


async def begin_successors(session: WriteSession, run: Run) -> Sequence[Run]:
    """The runs that follow from the success of a locked one, once however often this is asked; none for other ends."""
    if run.status != "succeeded" or run.followed_at is not None:
        return ()
    after = select(Job).where(Job.after_id == run.job_id, Job.status == "active", Job.tenant_id == run.tenant_id)
    locked = after.order_by(Job.id).with_for_update(key_share=True)
    begun = []
    for job in await session.scalars(locked.execution_options(populate_existing=True)):
        if await _tick_of(session, job, run) is None:
            follower, _ = await begin_run(session, _as_job(job), job, "after")
            session.add(_tick(job, run, follower))
            begun.append(follower)
    run.followed_at = now_micros()
    await session.flush()
    return begun


async def hold_run(session: WriteSession, run: Run) -> Run:
    """A run that was found, locked. Raises `NotFound`."""
    found = await lock(session, Run, run.id)
    if found.deleted_at is not None:
        raise NotFound(f"run {found.number} of job '{found.job_name}' is deleted")
    return found


async def input_dataset(session: WriteSession, tenant_id: str, spec: RunSpec) -> Dataset | None:
    """The dataset that a spec names, of a script the first; nobody deletes any of them before this transaction ends."""
    name = (spec.get("input") or {}).get("dataset")
    names = list(((spec.get("inputs") or {}).get("datasets") or {}).values()) if name is None else [name]
    if not names:
        return None
    query = select(Dataset).where(
        Dataset.tenant_id == tenant_id, Dataset.name.in_(names), Dataset.status.not_in(["deleting", "deleted"])
    )
    found = {row.name: row for row in await session.scalars(query.order_by(Dataset.id).with_for_update(read=True))}
    return next((found[each] for each in names if each in found), None)


async def _fetched(session: WriteSession, who: Who, job: Job, run_id: str, spec: RunSpec) -> Dataset:
    """A dataset of what the spec's `uri` has now: its own of this run, which waits until it is ready."""
    hints = dict(spec["input"])
    uri = hints.pop("uri")
    name = await _free_name(session, job, now_micros())
    filename = PurePosixPath(unquote(urlsplit(uri).path)).name[:LONGEST_FILE_NAME] or None
    about = Description(description=f"What run {job.last_number} of job '{job.name}' reads, copied from its source.")
    new = NewDataset(name, source_uri=uri, filename=filename, hints=hints, about=about)
    dataset, _ = await create_dataset(session, who, new)
    dataset.run_id, dataset.role = run_id, "input"
    await session.flush()
    return dataset


async def _free_name(session: WriteSession, job: Job, now: Micros) -> str:
    count = 0
    while True:
        name = output_name("{job}-{run}-input" + (f"-{count}" if count else ""), job.name, job.last_number, now)
        if await seek_dataset(session, job.tenant_id, name) is None:
            return name
        count += 1


def _still_there(run: Run) -> IllegalMove:
    how = "POST …:stop ends it first" if "stop" in RUN.legal_from(run.status) else "wait until it has ended"
    return IllegalMove(
        f"run {run.number} of job '{run.job_name}' is {run.status} and cannot be deleted; {how}",
        current_status=str(run.status),
        allowed=[verb for verb in ("pause", "resume", "stop") if run.status in RUN.moves[verb].sources],
    )


def _as_job(job: Job) -> Who:
    """Who starts a run because another succeeded."""
    return Who(job.tenant_id, f"job:{job.name}", "admin")


async def _tick_of(session: WriteSession, job: Job, run: Run) -> Tick | None:
    query = select(Tick).where(Tick.job_id == job.id, Tick.trigger == "after", Tick.key == run.id)
    return (await session.scalars(query)).first()


def _tick(job: Job, run: Run, follower: Run) -> Tick:
    now = now_micros()
    return Tick(
        id=new_id("tck"),
        tenant_id=job.tenant_id,
        created_at=now,
        job_id=job.id,
        trigger="after",
        key=run.id,
        at=now,
        outcome="fired",
        run_id=follower.id,
    )
