"""Claimable rows: who holds a unit of work, until when, and how it ends. Every final write is fenced by the epoch.

Leases and due times use the database's clock. The broker's message is only a hint; a claim takes whose turn it is.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Select, func, literal, select, update
from sqlalchemy.exc import IntegrityError

from core.clock import Micros
from core.errors import PlatformError
from state.advance import advance
from state.database import Database, Session, WriteSession, db_now
from state.datatables import Dataset
from state.direct import DirectSession, Writer, direct_write
from state.gates import gates
from state.history import MACHINE_OF, By
from state.jobtables import Job, Run
from state.kinds import KINDS
from state.queries.predictions import Destination, destinations
from state.tables import Model, Operation, Prediction, Service, Version
from state.turns import Room, Turns, choose, due, nothing_in_front
from state.worktables import LANES, OPERATIONS, Work

TARGETS: Mapping[str, Any] = {
    "model": Model,
    "version": Version,
    "service": Service,
    "dataset": Dataset,
    "job": Job,
    "run": Run,
}


class ClaimLost(PlatformError):
    """The work was taken over, canceled or superseded: its former holder may write nothing any more."""

    status, code, title = 409, "claim_lost", "The work belongs to somebody else now"


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on one row: valid while the row's epoch is this one and the lease is renewed."""

    lane: str
    id: str
    epoch: int
    attempt: int
    owner: str


@dataclass(frozen=True, slots=True)
class Taken:
    """A claim, the row as it is then, the database's clock, and, for a prediction, where it can be sent."""

    claim: Claim
    row: Work
    at: Micros
    destination: Destination | None = None


@dataclass(frozen=True, slots=True)
class Haul:
    """What one look at a lane brought, and whether there may be more."""

    taken: Sequence[Taken]
    more: bool


async def take(database: Database, lane: str, owner: str, lease_micros: int) -> tuple[Claim, Work] | None:
    """Claim the best due row of the lane (priority, then due time, then id), if there is one."""
    haul = await take_many(database, lane, owner, lease_micros, Room(1), Turns())
    return None if not haul.taken else (haul.taken[0].claim, haul.taken[0].row)


async def take_many(database: Database, lane: str, owner: str, lease_micros: int, room: Room, turns: Turns) -> Haul:
    """Claim the rows of the lane whose turn it is, as many as there is room for, in a transaction of its own.

    The operations' targets make their starting moves in the same commit.
    """
    try:
        async with direct_write(database) as session:
            chosen = await choose(session, lane, room, turns)
            if not chosen.rows:
                return Haul((), chosen.more)
            return await _start(session, lane, owner, lease_micros, chosen.rows, chosen.more)
    except IntegrityError:
        return Haul((), more=True)  # PostgreSQL: somebody claimed another wish for one of the targets at this moment


async def _start(
    session: DirectSession, lane: str, owner: str, lease_micros: int, rows: Sequence[Work], more: bool
) -> Haul:
    targets = await _lock_targets(session, rows)
    by, taken = By(owner), []
    for row in rows:
        move = KINDS[row.kind].starts if isinstance(row, Operation) else None
        target = targets.get(row.target_id) if isinstance(row, Operation) else None
        if move is not None and target is None:
            more = True  # somebody changes its target at this moment
            continue
        await advance(
            session,
            row,
            "start",
            by,
            epoch=row.epoch + 1,
            attempt=row.attempt + 1,
            lease_until=session.now + lease_micros,
            lease_owner=owner,
            started_at=row.started_at or session.now,
            waiting_for=None,
        )
        if move is not None and target is not None and target.status in MACHINE_OF[type(target)].moves[move].sources:
            await advance(session, target, move, By(owner, operation_id=row.id))
        taken.append(Taken(Claim(lane, row.id, row.epoch, row.attempt, owner), row, session.now))
    if lane == "predict":
        taken = await _with_destinations(session, taken)
    return Haul(taken, more)


async def _lock_targets(session: DirectSession, rows: Sequence[Work]) -> dict[str, Any]:
    """The targets that start with their operation and that nobody else holds.

    Everybody else locks the target before its operation: to wait for it here could end in a deadlock.
    """
    wanted: dict[str, set[str]] = {}
    for row in rows:
        if isinstance(row, Operation) and KINDS[row.kind].starts is not None:
            wanted.setdefault(row.target_type, set()).add(row.target_id)
    found: dict[str, Any] = {}
    for name, ids in sorted(wanted.items()):
        found |= await session.lock(TARGETS[name], sorted(ids), waits=False)
    return found


async def _with_destinations(session: DirectSession, taken: Sequence[Taken]) -> list[Taken]:
    """Where each prediction can be sent: asked here, so that its handler needs no transaction of its own."""
    services = {each.row.service_id for each in taken if isinstance(each.row, Prediction)}
    found = await destinations(session, services)
    return [
        replace(each, destination=found.get(each.row.service_id)) if isinstance(each.row, Prediction) else each
        for each in taken
    ]


async def due_ids(session: Session, lane: str, limit: int) -> Sequence[str]:
    """The ids of due rows, best first: what the relay sends wake-ups for."""
    table = LANES[lane].table
    query = select(table.id).where(*due(lane), *nothing_in_front(lane), *gates(lane))
    return list(await session.scalars(query.order_by(table.priority, table.due_at, table.id).limit(limit)))


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
    session: Writer,
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
        due_at=session.now + after_micros,
        attempt=row.attempt if used_attempt else row.attempt - 1,
        lease_until=None,
        lease_owner=None,
        waiting_for=waiting_for,
        **values,
    )
    session.tell("later" if after_micros > 0 else "work", row.lane, row.id)


async def end(session: Writer, row: Work, move: str, by: By, **values: object) -> None:
    """Finish held or waiting work by its final move (`succeed`, `fail`, `cancel`, `deliver`)."""
    await advance(session, row, move, by, completed_at=session.now, lease_until=None, lease_owner=None, **values)


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


async def expired(session: Session, lane: str, limit: int, *, without: Collection[str] = ()) -> Sequence[Work]:
    """Rows whose holder let the lease run out, those that wait longest first: what the rescuer queues again.

    `without` are ids to leave out.
    """
    table, held = _held_rows(lane)
    query = select(table).where(*held, table.lease_until < db_now(), table.id.not_in(without))
    return list(await session.scalars(query.order_by(table.lease_until).limit(limit)))


def attempts_of(row: Work, default: int) -> int | None:
    """How many attempts this work may use; `None` is without limit, as for what only a newer release knows."""
    if not isinstance(row, Operation):
        return default
    return KINDS[row.kind].max_attempts if row.kind in KINDS else None


async def forget_starts(session: WriteSession) -> None:
    """Let the time of queued operations begin anew: nobody worked while the platform was away.

    A deployment that waits for its replicas would else be over its time limit as soon as it is looked at again.
    """
    queued = update(Operation).where(Operation.status == OPERATIONS.waiting, Operation.started_at.is_not(None))
    await session.execute(queued.values(started_at=None).execution_options(synchronize_session=False))


async def lease_ends(session: Session) -> tuple[bool, float]:
    """Whether a lease has run out, and the seconds until the first one ends that still runs; infinite without one."""
    ends = (await session.execute(_lease_ends())).one()
    left_s = [micros / 1_000_000 for micros in ends if micros is not None]
    return any(each < 0 for each in left_s), min((each for each in left_s if each >= 0), default=math.inf)


async def let_leases_run_out(session: WriteSession) -> None:
    """Nobody can hold anything: for the start of a process that is known to be alone on this database."""
    for lane in LANES:
        table, held = _held_rows(lane)
        statement = update(table).where(*held).values(lease_until=0)
        await session.execute(statement.execution_options(synchronize_session=False))


@cache
def _lease_ends() -> Select[*tuple[Any, ...]]:
    """Of each lane: how long until its first lease ends, and the first of those that have not ended."""
    ends = []
    for lane in LANES:
        table, held = _held_rows(lane)
        first = select(func.min(table.lease_until) - db_now()).where(*held)
        ends += [first.scalar_subquery(), first.where(table.lease_until >= db_now()).scalar_subquery()]
    return select(*ends)


def _held_rows(lane: str) -> tuple[Any, tuple[ColumnElement[bool], ...]]:
    table: Any = LANES[lane].table
    is_working = table.status == literal(LANES[lane].working, literal_execute=True)
    return table, (table.lane == lane, is_working)
