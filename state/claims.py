"""Claimable rows: who holds a unit of work, until when, and how it ends. Every final write is fenced by the epoch.

Leases and due times use the database's clock. The broker's message is only a hint; `claim` takes the best due row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, and_, exists, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased

from core.errors import PlatformError
from state.advance import advance
from state.database import Database, Session, WriteSession, db_now
from state.history import MACHINE_OF, By
from state.kinds import KINDS
from state.tables import Delivery, Model, Operation, Prediction, Service, Version

Work = Operation | Prediction | Delivery
TARGETS: Mapping[str, Any] = {"model": Model, "version": Version, "service": Service}


@dataclass(frozen=True, slots=True)
class WorkTable:
    """How one claimable table names its statuses and moves (the claim takes the names per table)."""

    table: type[Any]
    waiting: str
    working: str
    finals: tuple[str, ...]


OPERATIONS = WorkTable(Operation, "queued", "running", ("succeeded", "failed", "canceled"))
PREDICTIONS = WorkTable(Prediction, "starting", "processing", ("succeeded", "failed", "canceled"))
DELIVERIES = WorkTable(Delivery, "pending", "sending", ("delivered", "failed"))
LANES: Mapping[str, WorkTable] = {
    "control": OPERATIONS,
    "run": OPERATIONS,
    "predict": PREDICTIONS,
    "deliver": DELIVERIES,
}


class ClaimLost(PlatformError):
    """The work was taken over, canceled or superseded: its former holder may write nothing any more."""

    status, code, title = 409, "claim_lost", "The work belongs to somebody else now"


class _TargetBusy(Exception):
    """The target of the best due operation is locked by another transaction."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on one row: valid while the row's epoch is this one and the lease is renewed."""

    lane: str
    id: str
    epoch: int
    attempt: int
    owner: str


async def take(database: Database, lane: str, owner: str, lease_micros: int) -> tuple[Claim, Work] | None:
    """Claim the best due row of the lane (priority, then due time, then id) in a transaction of its own.

    The operation's target makes its starting move in the same commit. Answers the claim and the row as it is then.
    """
    try:
        async with database.write() as session:
            return await _claim(session, lane, owner, lease_micros)
    except (IntegrityError, _TargetBusy):
        return None  # PostgreSQL: somebody changes the same target at this moment; the relay looks again


async def _claim(session: WriteSession, lane: str, owner: str, lease_micros: int) -> tuple[Claim, Work] | None:
    query = _best_due(LANES[lane], lane).limit(1).with_for_update(skip_locked=True)
    row: Work | None = (await session.execute(query)).scalar_one_or_none()
    if row is None:
        return None
    await advance(
        session,
        row,
        "start",
        By(owner),
        epoch=row.epoch + 1,
        attempt=row.attempt + 1,
        lease_until=db_now() + lease_micros,
        lease_owner=owner,
        started_at=row.started_at or db_now(),
        waiting_for=None,
    )
    if isinstance(row, Operation):
        await _start_target(session, row, owner)
    return Claim(lane, row.id, row.epoch, row.attempt, owner), row


async def _start_target(session: WriteSession, operation: Operation, owner: str) -> None:
    move = KINDS[operation.kind].starts
    if move is None:
        return
    table = TARGETS[operation.target_type]
    # Everybody else locks the target before its operation: to wait for it here could end in a deadlock.
    query = select(table).where(table.id == operation.target_id).with_for_update(skip_locked=True)
    target = (await session.execute(query.execution_options(populate_existing=True))).scalar_one_or_none()
    if target is None:
        raise _TargetBusy
    if target.status in MACHINE_OF[type(target)].moves[move].sources:
        await advance(session, target, move, By(owner, operation_id=operation.id))


async def due(session: Session, lane: str, limit: int) -> Sequence[str]:
    """The ids of due rows, best first: what the relay sends wake-ups for."""
    table = LANES[lane].table
    return list(await session.scalars(_best_due(LANES[lane], lane).with_only_columns(table.id).limit(limit)))


def _best_due(work: WorkTable, lane: str) -> Select[Any]:
    table = work.table
    query = select(table).where(table.lane == lane, table.status == work.waiting, table.due_at <= db_now())
    if table is Operation:
        # One holder per resource, in the order of the wishes: work queues behind the operation that runs on the same
        # target, and behind an older one that waits there.
        holder = aliased(Operation)
        is_older = and_(holder.status == work.waiting, holder.created_at < Operation.created_at)
        in_front = or_(holder.status == work.working, is_older)
        query = query.where(~exists().where(holder.target_id == Operation.target_id, in_front))
    return query.order_by(table.priority, table.due_at, table.id)


async def renew(session: WriteSession, claim: Claim, lease_micros: int) -> bool:
    """Extend the lease; answers whether somebody asked for cancellation. Raises `ClaimLost`."""
    work = LANES[claim.lane]
    table = work.table
    held = (table.id == claim.id, table.epoch == claim.epoch, table.status == work.working)
    statement = update(table).where(*held).values(lease_until=db_now() + lease_micros).returning(table.cancel_requested)
    answer = (await session.execute(statement.execution_options(synchronize_session=False))).scalar_one_or_none()
    if answer is None:
        raise ClaimLost(f"the claim on {claim.id} (epoch {claim.epoch}) is no longer ours")
    return bool(answer)


async def held(session: WriteSession, claim: Claim) -> Work:
    """The claimed row, locked, if the claim still stands. Raises `ClaimLost`."""
    work = LANES[claim.lane]
    table = work.table
    query = (
        select(table)
        .where(table.id == claim.id, table.epoch == claim.epoch, table.status == work.working)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    row: Work | None = (await session.execute(query)).scalar_one_or_none()
    if row is None:
        raise ClaimLost(f"the claim on {claim.id} (epoch {claim.epoch}) is no longer ours")
    return row


async def standing(session: Session, claim: Claim) -> bool:
    """Look whether the claim stands, without renewing it; answers as `renew` does. Raises `ClaimLost`."""
    work = LANES[claim.lane]
    table = work.table
    query = select(table.cancel_requested).where(
        table.id == claim.id, table.epoch == claim.epoch, table.status == work.working
    )
    answer = (await session.execute(query)).scalar_one_or_none()
    if answer is None:
        raise ClaimLost(f"the claim on {claim.id} (epoch {claim.epoch}) is no longer ours")
    return bool(answer)


async def note(session: WriteSession, claim: Claim, **values: object) -> None:
    """Write columns of held work that are no status (progress, a checkpoint). Raises `ClaimLost`."""
    row = await held(session, claim)
    for name, value in values.items():
        setattr(row, name, value)
    session.tell("changed", MACHINE_OF[type(row)].name, row.id)


async def give_back(
    session: WriteSession,
    row: Work,
    by: By,
    *,
    after_micros: int,
    used_attempt: bool,
    waiting_for: str | None = None,
    **values: object,
) -> None:
    """Queue held work again, due after a while. Waiting is not an attempt; a failed try is one."""
    await advance(
        session,
        row,
        "requeue",
        by,
        due_at=db_now() + after_micros,
        attempt=row.attempt if used_attempt else row.attempt - 1,
        lease_until=None,
        lease_owner=None,
        waiting_for=waiting_for,
        **values,
    )
    session.tell("later" if after_micros > 0 else "work", row.lane, row.id)


async def end(session: WriteSession, row: Work, move: str, by: By, **values: object) -> None:
    """Finish held or waiting work by its final move (`succeed`, `fail`, `cancel`, `deliver`)."""
    await advance(session, row, move, by, completed_at=db_now(), lease_until=None, lease_owner=None, **values)


async def wake(session: WriteSession, target_ids: Sequence[str]) -> None:
    """Make waiting operations on these targets due now (the watcher saw a change).

    A running one may have looked before the change: its `due_at` moves, and a `Wait` that finds it moved does not wait.
    """
    if not target_ids:
        return
    running = update(Operation).where(Operation.target_id.in_(target_ids), Operation.status == "running")
    await session.execute(running.values(due_at=db_now()).execution_options(synchronize_session=False))
    waiting = (Operation.target_id.in_(target_ids), Operation.status == "queued", Operation.waiting_for.is_not(None))
    statement = (
        update(Operation)
        .where(*waiting)
        .values(due_at=db_now(), waiting_for=None)
        .returning(Operation.lane, Operation.id)
    )
    for lane, id in await session.execute(statement.execution_options(synchronize_session=False)):
        session.tell("work", lane, id)


async def expired(session: WriteSession, lane: str, limit: int) -> Sequence[Work]:
    """Rows whose holder let the lease run out, locked: what the rescuer queues again."""
    work = LANES[lane]
    table = work.table
    query = (
        select(table)
        .where(table.lane == lane, table.status == work.working, table.lease_until < db_now())
        .order_by(table.lease_until)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )
    return list(await session.scalars(query))


def attempts_of(row: Work, default: int) -> int | None:
    """How many attempts this work may use; `None` is without limit."""
    return KINDS[row.kind].max_attempts if isinstance(row, Operation) else default


async def forget_starts(session: WriteSession) -> None:
    """Let the time of queued operations begin anew: nobody worked while the platform was away.

    A deployment that waits for its replicas would else be over its time limit as soon as it is looked at again.
    """
    queued = update(Operation).where(Operation.status == OPERATIONS.waiting, Operation.started_at.is_not(None))
    await session.execute(queued.values(started_at=None).execution_options(synchronize_session=False))


async def working(session: WriteSession, lane: str, limit: int) -> Sequence[Work]:
    """Every held row, locked: what an embedded start queues again, because its last holder is known to be dead."""
    work = LANES[lane]
    table = work.table
    query = select(table).where(table.lane == lane, table.status == work.working).limit(limit).with_for_update()
    return list(await session.scalars(query.execution_options(populate_existing=True)))
