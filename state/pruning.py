"""Removes runs that nobody sees any more, with all that they kept of their own and what they copied of a URI; what they
made are datasets that stay."""

from sqlalchemy import delete, exists, or_, select

from core.clock import Micros
from state.database import WriteSession
from state.inputcopies import forget_copies_of
from state.jobtables import Run, RunArtifact, RunChunk, RunProcess, RunReport, Tick
from state.machines import RUN
from state.tables import History, Tenant

KEPT = (RunChunk, RunReport, RunArtifact, RunProcess)


async def forget_runs(session: WriteSession, before: Micros, limit: int) -> int:
    """Remove at most `limit` runs that were deleted, or that ended before an instant; answers how many.

    One whose process the node still has to end stays until that is done.
    """
    working = exists().where(RunProcess.run_id == Run.id, or_(RunProcess.wanted, RunProcess.pid.is_not(None)))
    deleted = select(Run.id).where(Run.deleted_at.is_not(None), ~working).order_by(Run.deleted_at).limit(limit)
    ids = list(await session.scalars(deleted.with_for_update(of=Run, skip_locked=True)))
    if len(ids) < limit:
        # By tenant and age of creation, which is indexed: most rows are younger.
        old = (Run.tenant_id.in_(select(Tenant.id)), Run.created_at < before, Run.completed_at < before)
        ended = select(Run.id).where(*old, Run.status.in_(sorted(RUN.final)), ~working).limit(limit - len(ids))
        ids += await session.scalars(ended.with_for_update(of=Run, skip_locked=True))
    await forget_copies_of(session, ids)
    for table in KEPT:
        await session.execute(delete(table).where(table.run_id.in_(ids)))
    await session.execute(delete(Tick).where(Tick.run_id.in_(ids)))
    await session.execute(delete(History).where(History.resource_id.in_(ids)))
    await session.execute(delete(Run).where(Run.id.in_(ids)))
    return len(set(ids))
