"""How work ends: its own final move, and the move that its kind makes on the target, in the caller's transaction.

The one place that knows both; the executor, the rescuer and a cancel of queued work end work through here.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from core.clock import now_micros
from core.errors import Json
from state.advance import advance, lock
from state.claims import TARGETS, Claim, end, held
from state.database import WriteSession
from state.datatables import Dataset
from state.direct import DirectSession, Writer
from state.history import MACHINE_OF, By
from state.jobtables import Job, Run
from state.kinds import KINDS
from state.operations import canceled_problem
from state.tables import Delivery, Model, Operation, Prediction, Service, Version
from state.worktables import LANES, Work

log = logging.getLogger(__name__)

Values = Mapping[str, Any]
Aimed = Model | Version | Service | Dataset | Job | Run  # what an operation works on, as far as it has statuses
NOTHING: Values = MappingProxyType({})
REVERTING = ("revert", "weaken")  # a failed update or restart serves on with what it had


@dataclass(frozen=True, slots=True)
class Locked:
    """Work and its target, both held against other writers until the transaction ends."""

    row: Work
    target: Aimed | None


async def lock_held(session: WriteSession, claim: Claim, row: Work) -> Locked:
    """The claimed row and its target, if the claim still stands. Raises `ClaimLost`.

    The target first, as every other writer does: the other order could end in a deadlock on PostgreSQL.
    """
    target = await _lock_target(session, row)
    return Locked(await held(session, claim), target)


async def lock_all_held(session: DirectSession, held_work: Sequence[tuple[Claim, Work]]) -> list[Locked | None]:
    """The same for many of one lane at once; nothing for a claim that no longer stands."""
    found = await _lock_all(session, [row for _, row in held_work])
    return [_if_working(work, claim.epoch) for work, (claim, _) in zip(found, held_work, strict=True)]


async def lock_silent(session: DirectSession, row: Work) -> Locked | None:
    """The same for a row whose holder, the one that it had when it was read, has let the lease run out."""
    work = _if_working((await _lock_all(session, [row]))[0], row.epoch)
    is_silent = work is not None and (work.row.lease_until or 0) < session.now
    return work if is_silent else None


async def _lock_all(session: DirectSession, rows: Sequence[Work]) -> list[Locked | None]:
    """Rows of one table with their targets, each as it is now; nothing for one that is gone. Targets first."""
    targets: dict[str, Any] = {}
    wanted: dict[str, set[str]] = {}
    for row in rows:
        if isinstance(row, Operation) and row.target_type in TARGETS:
            wanted.setdefault(row.target_type, set()).add(row.target_id)
    for name, ids in sorted(wanted.items()):
        targets |= await session.lock(TARGETS[name], sorted(ids))
    found: Mapping[str, Work] = await session.lock(type(rows[0]), [row.id for row in rows])
    return [
        Locked(now, targets.get(now.target_id) if isinstance(now, Operation) else None) if now is not None else None
        for now in (found.get(row.id) for row in rows)
    ]


def _if_working(work: Locked | None, epoch: int) -> Locked | None:
    if work is None or work.row.epoch != epoch or work.row.status != LANES[work.row.lane].working:
        return None
    return work


async def lock_operation(session: WriteSession, operation: Operation) -> Locked:
    """An operation, whoever holds it, and its target."""
    target = await _lock_target(session, operation)
    return Locked(await lock(session, Operation, operation.id), target)


async def _lock_target(session: WriteSession, row: Work) -> Aimed | None:
    if not isinstance(row, Operation) or row.target_type not in TARGETS:
        return None
    found: Aimed = await lock(session, TARGETS[row.target_type], row.target_id)
    return found


async def succeed(
    session: Writer, work: Locked, by: By, *, result: Mapping[str, Json], row: Values, target: Values
) -> None:
    """The effect is there: the target's succeeding move with `target` values, then the work's own with `row` values."""
    if isinstance(work.row, Operation):
        await _move_target(session, work, KINDS[work.row.kind].succeeds, by, target)
        await end(session, work.row, "succeed", by, **{"result": result, **row})
    else:
        await end(session, work.row, "deliver" if isinstance(work.row, Delivery) else "succeed", by, **row)


async def fail(
    session: Writer,
    work: Locked,
    by: By,
    problem: Mapping[str, Json],
    *,
    row: Values = NOTHING,
    target: Values = NOTHING,
) -> None:
    """It cannot take effect: the target's failing move and the work's own, both with the problem as their reason."""
    why = By(by.actor, str(problem["code"])[:80], str(problem["detail"]), by.operation_id)
    if isinstance(work.row, Operation):
        await _move_target(session, work, KINDS[work.row.kind].fails, why, target)
    await end(session, work.row, "fail", why, **{**_told(work.row, problem), **row})


async def cancel(session: Writer, work: Locked, by: By, detail: str) -> None:
    """Its owner no longer wants it: the target makes the move of a failure; a delivery has no other end than `fail`."""
    problem = canceled_problem(detail)
    why = By(by.actor, "canceled", detail, by.operation_id)
    if isinstance(work.row, Operation):
        await _move_target(session, work, KINDS[work.row.kind].fails, why, NOTHING)
    move = "fail" if isinstance(work.row, Delivery) else "cancel"
    await end(session, work.row, move, why, cancel_requested=True, **_told(work.row, problem))


def _told(row: Work, problem: Mapping[str, Json]) -> dict[str, object]:
    """The columns in which each kind of work keeps its problem."""
    if isinstance(row, Operation):
        return {"error": problem}
    if isinstance(row, Prediction):
        return {"problem": problem, "error": problem["detail"]}
    return {}


async def _move_target(session: Writer, work: Locked, move: str | None, by: By, values: Values) -> None:
    """The target may have been moved on meanwhile (deleted, paused): then the work ends without it."""
    if move is None or work.target is None:
        return
    machine = MACHINE_OF[type(work.target)]
    if work.target.status not in machine.moves[move].sources:
        log.info("%s ends, but %s is %s: no '%s'", work.row.id, work.target.id, work.target.status, move)
        return
    reverted = _live_wish(work.target) if move in REVERTING and isinstance(work.target, Service) else NOTHING
    # Also where work ends that nobody had begun, which no handler tells when.
    ends_run = isinstance(work.target, Run) and machine.moves[move].to in machine.final
    ended = {"completed_at": now_micros()} if ends_run else NOTHING
    why = By(by.actor, by.reason, by.message, work.row.id)
    await advance(session, work.target, move, why, **{**reverted, **ended, **values})


def _live_wish(service: Service) -> Values:
    """What was last ready is wanted again; the watcher tells the target where the handler could not."""
    if service.live_revision_id is None:
        return NOTHING
    return {"revision_id": service.live_revision_id, "replicas": service.live_replicas or service.replicas}
