"""The datasets that runs make of what they read by a URI: a job keeps the one that its last success has read.

A nightly job would else leave one behind each night, for ever. What a failed run has read stays until a later one
succeeds, for somebody may want to look at it; and each copy goes with its run. One that others read by now stays.
"""

from collections.abc import Sequence
from contextlib import suppress

from sqlalchemy import exists, select

from core.errors import InUse
from state.advance import lock
from state.database import WriteSession
from state.datasets import delete_dataset
from state.datatables import Dataset
from state.jobtables import Job, Run
from state.machines import RUN
from state.operations import Who

MOST = 50  # of one transaction
ROLE = "input"
GONE = ("deleting", "deleted")


async def forget_older_copies(session: WriteSession, run: Run) -> None:
    """Delete what earlier runs of the job have copied, now that this one has succeeded."""
    if "uri" not in (run.spec.get("input") or {}):
        return
    query = select(Dataset.id).join(Run, Run.id == Dataset.run_id)
    older = (Run.job_id == run.job_id, Run.number < run.number, Run.status.in_(sorted(RUN.final)))
    query = query.where(*older, Dataset.role == ROLE, Dataset.status.not_in(GONE)).order_by(Run.number).limit(MOST)
    await _delete(session, f"job:{run.job_name}", list(await session.scalars(query)))


async def forget_copies_of(session: WriteSession, run_ids: Sequence[str]) -> None:
    """Delete what runs have copied that are about to be forgotten."""
    mine = (Dataset.run_id.in_(run_ids), Dataset.role == ROLE, Dataset.status.not_in(GONE))
    await _delete(session, "expiry", list(await session.scalars(select(Dataset.id).where(*mine))))


async def _delete(session: WriteSession, actor: str, ids: Sequence[str]) -> None:
    for dataset_id in sorted(ids):
        row = await lock(session, Dataset, dataset_id)
        is_named = exists().where(Job.dataset_id == row.id, Job.status != "deleted")
        if row.status in GONE or await session.scalar(select(is_named)):
            continue
        with suppress(InUse):  # a run reads it
            await delete_dataset(session, Who(row.tenant_id, actor, "admin"), row)
