"""What the node is asked to run for runs, and what it says of the process that it made of it.

Two fences: `generation` keeps an older wish out, `epoch`, which counts the starts, an older process. A run has at most
one process: a start is a conditional update on a row without one.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite

from core.clock import Micros, now_micros
from core.errors import Conflict, Json
from state.database import Session, WriteSession
from state.jobtables import Run, RunProcess
from state.placements import StaleGeneration
from state.runspecs import RunSpec
from state.tables import JsonColumn

Outcome = Literal["finished", "failed", "left", "lost"]
WORKED: Final = "worked_s"  # of `run_processes.progress`: seconds of the processes that have ended
VERDICTS: Final = ("finished", "failed")  # after these nothing is started again, unless somebody wants another try


class ProcessGone(Conflict):
    """The run has another process now, or none: what the former one has done may not be written any more."""

    code, title = "process_gone", "The process is no longer the run's"


@dataclass(frozen=True, slots=True)
class WantedRun:
    """A row as the node compares it, ten times a second: without the spec, which may be large."""

    run_id: str
    tenant_id: str
    generation: int
    wanted: bool
    epoch: int
    pid: int | None
    process_started: str | None
    boot_id: str | None
    ending: Mapping[str, Any] | None


async def want_run(session: WriteSession, spec: RunSpec) -> None:
    """Want this run to have a process; what its last one said counts no more under a newer generation or attempt.

    Raises `StaleGeneration`.
    """
    row = await _locked(session, spec.run_id)
    if row is None:
        values = {"run_id": spec.run_id, "tenant_id": spec.tenant_id, "epoch": 0}
        wish = {"generation": spec.generation, "wanted": True, "spec": spec.as_json()}
        inserted = _insert(session)(RunProcess).values(**values, **wish).on_conflict_do_nothing()
        await session.execute(inserted)
        session.tell("placement", "run", spec.run_id)
        row = await _locked(session, spec.run_id)
        assert row is not None
    _refuse_stale(row, spec.generation)
    is_another_try = row.generation < spec.generation or row.spec.get("attempt") != spec.attempt
    if row.wanted and not is_another_try:
        return
    if is_another_try:
        row.spec, row.ending = spec.as_json(), None
    row.generation, row.wanted = spec.generation, True
    session.tell("placement", "run", spec.run_id)


async def unwant_run(session: WriteSession, run_id: str, generation: int) -> None:
    """Want no process of the run. Raises `StaleGeneration`.

    Where nothing was wanted yet a row that wants nothing is left: an older wish that comes late must find it.
    """
    row = await _locked(session, run_id)
    if row is None:
        tombstone = select(
            Run.id, Run.tenant_id, literal(generation), literal(False), literal({}, JsonColumn), literal(0)
        ).where(Run.id == run_id)
        columns = ["run_id", "tenant_id", "generation", "wanted", "spec", "epoch"]
        await session.execute(_insert(session)(RunProcess).from_select(columns, tombstone).on_conflict_do_nothing())
        row = await _locked(session, run_id)
    if row is None:
        return  # there is no such run
    _refuse_stale(row, generation)
    row.generation, row.wanted = generation, False
    session.tell("placement", "run", run_id)


async def placed_runs(session: Session, ids: Collection[str]) -> set[str]:
    """Those of these runs that the node knows of: they have not ended, or a moment ago."""
    return set(await session.scalars(select(RunProcess.run_id).where(RunProcess.run_id.in_(ids))))


async def begin_process(session: WriteSession, seen: WantedRun, log_path: str) -> RunSpec | None:
    """Give the run its next epoch and answer what to start; nothing if it is not wanted so any more."""
    same = (
        *(RunProcess.run_id == seen.run_id, RunProcess.generation == seen.generation, RunProcess.epoch == seen.epoch),
        *(RunProcess.wanted, RunProcess.pid.is_(None)),
    )
    statement = update(RunProcess).where(*same).values(epoch=seen.epoch + 1, log_path=log_path, began_at=now_micros())
    statement = statement.returning(RunProcess.spec).execution_options(synchronize_session=False)
    spec = (await session.execute(statement)).scalar_one_or_none()
    return None if spec is None else RunSpec.of(spec)


async def name_process(
    session: WriteSession, run_id: str, epoch: int, pid: int, started: str | None, boot_id: str | None
) -> None:
    """Say which process it is. Raises `ProcessGone` when it is not wanted any more, or another start came meanwhile."""
    now = now_micros()
    values = {"pid": pid, "process_started": started, "boot_id": boot_id, "began_at": now, "seen_at": now}
    same = (RunProcess.epoch == epoch, RunProcess.pid.is_(None), RunProcess.wanted.is_(True))
    await _change(session, run_id, same, values)
    session.tell("changed", "run_process", run_id)  # who waits for it knows from now on how long it may work


async def note_progress(session: WriteSession, run_id: str, epoch: int, progress: Mapping[str, Json]) -> None:
    """Remember how far the process is. Raises `ProcessGone`."""
    await _change(session, run_id, _ours(epoch), {"progress": progress, "seen_at": now_micros()})


async def give_token(session: WriteSession, run_id: str, epoch: int, token_hash: str) -> None:
    """Let the process that is about to start call us with this token, as long as it lives. Raises `ProcessGone`."""
    same = (RunProcess.epoch == epoch, RunProcess.pid.is_(None), RunProcess.wanted.is_(True))
    await _change(session, run_id, same, {"token_hash": token_hash})
    session.tell("changed", "token", run_id)


async def end_process(
    session: WriteSession, run_id: str, epoch: int, ending: Mapping[str, Json] | None, *, is_found_dead: bool = False
) -> None:
    """Say that the process of this epoch is gone, and what it left as its word. Raises `ProcessGone`.

    Without a word the former one stands: who was asked to end says nothing of how often others died. One that
    `is_found_dead` worked until its last sign of life: nobody knows for how long the platform was off since.
    """
    row = await _locked(session, run_id)
    if row is None or row.epoch != epoch:
        raise _gone(run_id)
    now = now_micros()
    if row.pid is not None:
        until = (row.seen_at or now) if is_found_dead else now
        row.progress = {**(row.progress or {}), WORKED: worked_s(row.progress, row.began_at, until)}
    row.pid = row.process_started = row.boot_id = row.token_hash = None
    row.ended_at = now
    if ending is not None:
        row.ending = dict(ending)
    await session.flush()
    session.tell("changed", "run_process", run_id)
    session.tell("changed", "token", run_id)


async def hold_process(session: WriteSession, run_id: str, epoch: int) -> RunProcess:
    """The row, locked, while the process of this epoch is the run's. Raises `ProcessGone`."""
    row = await _locked(session, run_id)
    if row is None or row.epoch != epoch or row.pid is None:
        raise ProcessGone(f"process {epoch} of {run_id} is not the run's any more")
    return row


@dataclass(frozen=True, slots=True)
class SeenRun:
    """What the target sees of a run: whether it has a process, how far it is, and the verdict of its last try.

    `worked_s` is how long its processes have worked in all: without pauses, without waiting for their turn.
    """

    generation: int
    wanted: bool
    pid: int | None
    progress: Mapping[str, Any]
    ending: Mapping[str, Any] | None
    said: str | None = None  # of the last process that ended without a verdict
    worked_s: float = 0.0


NOTHING_SEEN: Final = SeenRun(0, wanted=False, pid=None, progress={}, ending=None)


async def see_run(session: Session, run_id: str) -> SeenRun:
    """What is known of the run's process."""
    row = await session.get(RunProcess, run_id)
    if row is None:
        return NOTHING_SEEN
    ending = row.ending or {}
    return SeenRun(
        generation=row.generation,
        wanted=row.wanted,
        pid=row.pid,
        progress=row.progress or {},
        ending=row.ending if ending.get("outcome") in VERDICTS else None,
        said=ending.get("message"),
        worked_s=worked_s(row.progress, row.began_at if row.pid is not None else None, now_micros()),
    )


def worked_s(progress: Mapping[str, Json] | None, began_at: Micros | None, until: Micros) -> float:
    """How long the processes of a run have worked: those that have ended, and one that began then and still works."""
    before = float(str((progress or {}).get(WORKED) or 0.0))
    return round(before + (0.0 if began_at is None else max(0, until - began_at) / 1_000_000), 3)


def _ours(epoch: int) -> tuple[ColumnElement[bool], ...]:
    return RunProcess.epoch == epoch, RunProcess.pid.is_not(None)


async def _change(
    session: WriteSession, run_id: str, same: Sequence[ColumnElement[bool]], values: Mapping[str, Any]
) -> None:
    statement = update(RunProcess).where(RunProcess.run_id == run_id, *same).values(**values)
    statement = statement.returning(RunProcess.run_id).execution_options(synchronize_session=False)
    if (await session.execute(statement)).scalar_one_or_none() is None:
        raise _gone(run_id)


def _gone(run_id: str) -> ProcessGone:
    return ProcessGone(f"the process that says this of {run_id} is not the run's any more")


async def _locked(session: WriteSession, run_id: str) -> RunProcess | None:
    query = select(RunProcess).where(RunProcess.run_id == run_id).with_for_update()
    return (await session.execute(query.execution_options(populate_existing=True))).scalar_one_or_none()


def _refuse_stale(row: RunProcess, generation: int) -> None:
    if row.generation > generation:
        raise StaleGeneration(f"generation {generation} of {row.run_id} is older than the applied one")


def _insert(session: WriteSession) -> Callable[[type[RunProcess]], sqlite.Insert | postgresql.Insert]:
    return postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
