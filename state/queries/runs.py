"""Runs: finding and listing them, what is shown of one beside its row, and the successes that nobody followed yet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from sqlalchemy import Select, func, select

from core.clock import Micros, now_micros
from core.errors import NotFound
from state.database import Session
from state.datatables import Dataset
from state.jobtables import UNFOLLOWED, Job, Run, RunChunk, RunProcess
from state.machines import RUN
from state.queries.briefs import with_brief_spec
from state.queries.lists import Page, View, page
from state.queries.rows import among_ids, nowhere, owned
from state.runplacing import worked_s
from state.tables import Model, Operation, Version

LONGEST_NUMBER = 15  # digits; a number beyond is no run and would not fit the column
WITHOUT = ("env_sealed", "resolved")
AT_ONCE = 50  # of one look


@dataclass(frozen=True, slots=True)
class Tally:
    """What the ledger has of a run that nobody has summed up yet: rows read, scored, and bad ones."""

    chunks: int
    rows_in: int
    rows_out: int
    bad: int


@dataclass(frozen=True, slots=True)
class UnderWay:
    """The operation that holds a run, and what it waits for, in words."""

    id: str
    waiting_for: str | None


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run with the names of what it reads, runs and made, how far it is, and what happens to it now.

    `input_rows` are those of its dataset, where they were counted; `worked_s` is how long its processes have worked.
    """

    row: Run
    model: str | None
    version: str | None
    input: str | None
    input_rows: int | None
    output: str | None
    bad_rows: str | None
    progress: Mapping[str, Any] | None
    tally: Tally | None
    operation: UnderWay | None
    seen_at: Micros | None = None
    worked_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Process:
    """What the row of a run's process tells."""

    progress: Mapping[str, Any] | None
    seen_at: Micros | None
    worked_s: float


NO_PROCESS: Final = _Process(None, None, 0.0)


async def find_run(session: Session, job: Job, given: str) -> Run:
    """A run of the job by its number, `latest` or its id. Raises `NotFound`."""
    query = select(Run).where(Run.job_id == job.id, Run.deleted_at.is_(None))
    if given == "latest":
        query = query.order_by(Run.number.desc())
    elif given.startswith("run_"):
        query = query.where(Run.id == given)
    elif given.isascii() and given.isdecimal() and len(given) <= LONGEST_NUMBER:
        query = query.where(Run.number == int(given))
    else:
        raise NotFound(f"'{given[:80]}' names no run: write a number, 'latest' or an id")
    run = (await session.scalars(query.limit(1))).first()
    if run is None:
        raise NotFound(f"job '{job.name}' has no run '{given[:80]}'; GET /api/v1/jobs/{job.name}/runs lists them")
    return run


async def owned_run(session: Session, tenant_id: str, run_id: str) -> Run:
    """The tenant's run of this id. Raises `NotFound`."""
    row = await owned(session, Run, tenant_id, run_id, "run")
    if row.deleted_at is not None:
        raise nowhere("run", run_id)
    return row


async def list_runs(session: Session, tenant_id: str, view: View, job: Job | None = None) -> Page[Run]:
    """The tenant's runs, or those of one job, with their specs in brief."""
    mine = Run.tenant_id == tenant_id if job is None else Run.job_id == job.id
    found = select(Run).where(mine, Run.deleted_at.is_(None))
    return await page(session, found, Run, view, without=WITHOUT, instead=with_brief_spec(session, Run))


async def describe_runs(session: Session, runs: Sequence[Run]) -> list[RunFacts]:
    """Everything that is shown of runs, in a handful of queries however many they are."""
    ids = [run.id for run in runs]
    under_way = [run.id for run in runs if run.status not in RUN.final]
    datasets = await _datasets(session, runs)
    versions = await _versions(session, [run.version_id for run in runs if run.version_id])
    told = await _processes(session, ids)
    tallies = await _tallies(session, [run.id for run in runs if run.summary is None])
    busy = select(Operation.target_id, Operation.id, Operation.waiting_for).where(
        among_ids(session, Operation.target_id, under_way), Operation.status.in_(["queued", "running"])
    )
    found = await session.execute(busy.order_by(Operation.id))
    holders = {target: UnderWay(id, waiting_for) for target, id, waiting_for in found}
    facts = []
    for run in runs:
        model, version = versions.get(run.version_id or "", (run.spec.get("model"), None))
        read, made, bad = (
            datasets.get(id or "", (None, None)) for id in (run.dataset_id, run.output_id, run.bad_rows_id)
        )
        process, tally, holder = told.get(run.id, NO_PROCESS), tallies.get(run.id), holders.get(run.id)
        worked_s = max(run.running_micros / 1_000_000, process.worked_s)
        far, seen_at = process.progress, process.seen_at
        facts.append(RunFacts(run, model, version, *read, made[0], bad[0], far, tally, holder, seen_at, worked_s))
    return facts


async def unfollowed(session: Session, limit: int = AT_ONCE) -> Sequence[str]:
    """The ids of runs that succeeded and whose successors were not begun yet, the oldest first."""
    return list(await session.scalars(_unfollowed(limit)))


@cache
def _unfollowed(limit: int) -> Select[str]:
    return select(Run.id).where(UNFOLLOWED).order_by(Run.completed_at).limit(limit)


async def living_of(session: Session, run_id: str) -> Run | None:
    """A run by its id, if it is not deleted."""
    return (await session.scalars(select(Run).where(Run.id == run_id, Run.deleted_at.is_(None)))).first()


async def _processes(session: Session, ids: Sequence[str]) -> Mapping[str, _Process]:
    columns = (RunProcess.run_id, RunProcess.progress, RunProcess.seen_at, RunProcess.pid, RunProcess.began_at)
    found = await session.execute(select(*columns).where(among_ids(session, RunProcess.run_id, ids)))
    now = now_micros()
    return {
        run_id: _Process(progress, seen_at, worked_s(progress, None if pid is None else began_at, now))
        for run_id, progress, seen_at, pid, began_at in found
    }


async def _datasets(session: Session, runs: Sequence[Run]) -> Mapping[str, tuple[str | None, int | None]]:
    """Name and rows, where they were counted, of those that are still there."""
    wanted = {id for run in runs for id in (run.dataset_id, run.output_id, run.bad_rows_id) if id}
    if not wanted:
        return {}
    query = select(Dataset.id, Dataset.name, Dataset.rows, Dataset.rows_are_estimated).where(
        among_ids(session, Dataset.id, sorted(wanted)), Dataset.status != "deleted"
    )
    found = await session.execute(query)
    return {id: (name, None if is_estimated else rows) for id, name, rows, is_estimated in found}


async def _versions(session: Session, ids: Sequence[str]) -> Mapping[str, tuple[str, str]]:
    """The name of the model and the number of each version."""
    if not ids:
        return {}
    query = select(Version.id, Model.name, Version.number).join(Model, Model.id == Version.model_id)
    found = await session.execute(query.where(among_ids(session, Version.id, sorted(set(ids)))))
    return {id: (name, str(number)) for id, name, number in found}


async def _tallies(session: Session, ids: Sequence[str]) -> Mapping[str, Tally]:
    if not ids:
        return {}
    sums = (func.count(), func.sum(RunChunk.rows_in), func.sum(RunChunk.rows_out), func.sum(RunChunk.bad))
    query = select(RunChunk.run_id, *sums).where(among_ids(session, RunChunk.run_id, ids)).group_by(RunChunk.run_id)
    return {id: Tally(*(int(each) for each in found)) for id, *found in await session.execute(query)}
