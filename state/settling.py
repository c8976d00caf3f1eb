"""Runs that rest although something of them does not: a wish that nobody took back, a time that nobody summed up.

Work that ends by itself leaves nothing; an operation that its owner cancels, or the engine ends, cannot clean up.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Final

from sqlalchemy import Select, and_, delete, or_, select

from core.errors import Json
from state.advance import lock
from state.artifacts import forget_inputs
from state.database import Session, WriteSession
from state.inputcopies import forget_older_copies
from state.inputs import let_go
from state.jobtables import LIVE, Run, RunProcess
from state.ledger import close_ledger, tally
from state.machines import RUN
from state.runplacing import unwant_run, worked_s

FINAL: Final = tuple(sorted(RUN.final))
MOST = 100  # of one look


async def unsettled(session: Session) -> Sequence[str]:
    """The runs at rest of which something is left."""
    return list(await session.scalars(_unsettled()))


@cache
def _unsettled() -> Select[str]:
    is_final = Run.status.in_(FINAL)
    is_left = or_(
        and_(is_final, or_(RunProcess.wanted, RunProcess.pid.is_(None))),
        and_(Run.status == "paused", or_(RunProcess.wanted, Run.resumed_at.is_not(None))),
    )
    query = select(Run.id).join(RunProcess, RunProcess.run_id == Run.id).where(is_left)
    return query.order_by(Run.id).limit(MOST)


async def readers(session: Session, dataset_ids: Collection[str]) -> Sequence[str]:
    """The runs that have not ended and read one of these datasets."""
    return list(await session.scalars(select(Run.id).where(Run.dataset_id.in_(dataset_ids), LIVE)))


async def settle(session: WriteSession, run_id: str) -> None:
    """Want nothing more of a run at rest, sum up, and, once it has ended and its process is gone, close its ledger."""
    run = await lock(session, Run, run_id)
    is_final = run.status in FINAL
    if not is_final and run.status != "paused":
        return  # it goes on meanwhile
    process = await session.get(RunProcess, run_id, with_for_update=True)
    for name, value in stretch(run, {} if process is None else process.progress or {}).items():
        setattr(run, name, value)
    if is_final:
        run.completed_at = run.completed_at or run.since
    if process is None:
        return
    if process.wanted:
        await unwant_run(session, run_id, run.generation)
    if not is_final or process.pid is not None:
        return
    if run.summary is None:
        run.summary = await summed_up(session, run, process.progress or {})
    if run.status == "succeeded":
        await forget_older_copies(session, run)
    await close_ledger(session, run_id)
    await forget_inputs(session, run_id)
    await let_go(session, run_id)
    await session.execute(delete(RunProcess).where(RunProcess.run_id == run_id))
    session.tell("changed", "run", run_id)


def stretch(run: Run, progress: Mapping[str, Json]) -> dict[str, int | None]:
    """The columns that end the present stretch of a run, from what is known of its processes when the last has ended.

    Its time is that in which they worked: a run that waits for its turn, or for a platform that is off, is not slow.
    """
    worked = round(worked_s(progress, None, 0) * 1_000_000)
    return {"running_micros": max(run.running_micros, worked), "resumed_at": None}


async def summed_up(session: Session, run: Run, progress: Mapping[str, Json]) -> dict[str, Json]:
    """The summary of a run that ends without having done everything."""
    done = await summary(session, run.id, progress, stretch(run, progress)["running_micros"] or 0)
    if run.kind == "script":
        done |= {name: progress[name] for name in ("percent", "detail") if progress.get(name) is not None}
    return done


async def summary(session: Session, run_id: str, progress: Mapping[str, Json], running_micros: int) -> dict[str, Json]:
    """What a run has done in all: `runs.summary`."""
    done = await tally(session, run_id)
    told = {name: progress[name] for name in ("seconds", "cpu_s", "memory_bytes") if progress.get(name) is not None}
    rate = round(done.rows_in / (running_micros / 1_000_000), 1) if running_micros else None
    counts = {"rows_in": done.rows_in, "rows_out": done.rows_out, "bad": done.bad, "chunks": done.chunks}
    return {**counts, "bytes": done.size_bytes, "rows_per_s": rate, **told}
