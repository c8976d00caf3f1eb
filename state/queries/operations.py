"""Operations as their owner handles them: find, list, cancel, retry."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select, update

from core.clock import to_micros
from core.errors import Conflict
from state.advance import advance, illegal
from state.database import Session, WriteSession, db_now
from state.datatables import Dataset
from state.endings import Locked, cancel, lock_operation
from state.fetching import FETCH
from state.history import MACHINE_OF, By
from state.kinds import KINDS
from state.operations import Who
from state.queries.lists import Page, View, page
from state.queries.rows import owned
from state.switches import DEPLOYS, check_deploys
from state.tables import Operation, Version
from state.worktables import OPERATIONS


class NotCancelable(Conflict):
    """This kind of operation has no way back."""

    code, title = "not_cancelable", "This operation cannot be canceled"


class NotRetryable(Conflict):
    """Trying this operation again would not do what was asked for then."""

    code, title = "not_retryable", "This operation cannot be retried"


@dataclass(frozen=True, slots=True)
class _Again:
    """What makes a failed operation's target ready for another try: a move, where the status needs one."""

    move: str | None
    reason: str | None = None  # the target must rest with this reason


# The others are repeated by sending the wish again: their failure has put the target back to what ran before.
RETRIES = {
    "version.inspect": _Again("retry", reason="inspection_failed"),
    "version.test": _Again(None),
    "dataset.create": _Again("retry", reason="description_failed"),
    "service.deploy": _Again("redeploy"),
    "service.restart": _Again("restart"),
    "service.resume": _Again("resume"),
}


async def find(session: Session, tenant_id: str, operation_id: str) -> Operation:
    """The tenant's operation. Raises `NotFound`."""
    return await owned(session, Operation, tenant_id, operation_id, "operation")


async def listing(session: Session, tenant_id: str, view: View) -> Page[Operation]:
    """The tenant's operations."""
    return await page(session, select(Operation).where(Operation.tenant_id == tenant_id), Operation, view)


async def request_cancel(session: WriteSession, who: Who, operation_id: str) -> Operation:
    """End queued work now, ask the holder of running work to stop; what has ended stays as it is.

    Raises `NotFound`, `NotCancelable`.
    """
    operation = await find(session, who.tenant_id, operation_id)
    if operation.status in OPERATIONS.finals:
        return operation
    if operation.kind not in KINDS:
        detail = f"{operation.kind} is of a newer release than this process, which cannot cancel it"
        raise NotCancelable(f"{detail}; ask a process of that release", status_now=operation.status)
    if not KINDS[operation.kind].cancelable:
        raise NotCancelable(
            f"{operation.kind} cannot be canceled: it goes on until it is done", status_now=operation.status
        )
    work = await lock_operation(session, operation)
    if operation.status == OPERATIONS.waiting:
        await cancel(session, work, By(who.actor), f"{who.actor} canceled it before it began")
    elif operation.status == OPERATIONS.working and not operation.cancel_requested:
        asked = update(Operation).where(Operation.id == operation.id).values(cancel_requested=True)
        await session.execute(asked.execution_options(synchronize_session=False))
        await session.refresh(operation)
        session.tell("changed", "operation", operation.id)
    return operation


async def retry(session: WriteSession, who: Who, operation_id: str) -> Operation:
    """Queue a failed operation again, its target made ready for it.

    Raises `NotFound`, `IllegalMove` unless it failed, `NotRetryable`.
    """
    operation = await find(session, who.tenant_id, operation_id)
    work = await lock_operation(session, operation)
    if operation.status != "failed":
        raise illegal(operation, "retry")
    again = RETRIES.get(operation.kind)
    if again is None:
        raise NotRetryable(f"a failed {operation.kind} is not retried; send the request that made it again")
    if operation.kind in DEPLOYS:
        await check_deploys(session)
    by = By(who.actor, "retry", operation_id=operation.id)
    values = await _make_ready(session, work, again, by)
    deadline_s = KINDS[operation.kind].deadline_s
    await advance(
        session,
        operation,
        "retry",
        by,
        due_at=db_now(),
        attempt=0,
        rescues=0,
        started_at=None,
        deadline_at=None if deadline_s is None else db_now() + to_micros(timedelta(seconds=deadline_s)),
        completed_at=None,
        cancel_requested=False,
        waiting_for=None,
        progress=None,
        error=None,
        **values,
    )
    session.tell("work", operation.lane, operation.id)
    return operation


async def _make_ready(session: WriteSession, work: Locked, again: _Again, by: By) -> Mapping[str, str]:
    """Move the target; answers columns of the operation that change with it."""
    target = work.target
    if again.move is None or target is None:
        return {}
    if again.reason is not None and target.reason != again.reason and not _is_own_fault(work):
        why = (
            f"the {MACHINE_OF[type(target)].name} was refused for what it is ({target.reason}); upload a corrected file"
        )
        raise NotRetryable(why)
    if target.generation != getattr(work.row, "generation", target.generation):
        raise NotRetryable("something newer was asked of the resource since; send that request again")
    if isinstance(target, Version) and target.source_uri is not None:
        # What is there now may be another file: it is fetched again.
        await advance(session, target, again.move, by, digest="", size_bytes=0, format="")
        return {"lane": FETCH}
    if isinstance(target, Dataset) and target.source_uri is not None:
        await advance(session, target, again.move, by, digest=None, size_bytes=None)
        return {}
    await advance(session, target, again.move, by)
    return {}


def _is_own_fault(work: Locked) -> bool:
    """It ended without a verdict on the file, or on one that may be mended where it comes from."""
    if not isinstance(work.target, Version | Dataset):
        return False
    own = ("attempts_exhausted", "deadline_passed", "internal_error", "canceled", "disk_full")
    return work.target.source_uri is not None or work.target.reason in own
