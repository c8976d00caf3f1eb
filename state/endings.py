"""How work ends: its own final move, and the move that its kind makes on the target, in the caller's transaction.

The one place that knows both; the executor, the rescuer and a cancel of queued work end work through here.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from core.errors import Json
from state.advance import advance, lock
from state.claims import TARGETS, Claim, Work, end, held
from state.database import WriteSession
from state.history import MACHINE_OF, By
from state.kinds import KINDS
from state.operations import canceled_problem
from state.tables import Delivery, Model, Operation, Prediction, Service, Version

log = logging.getLogger(__name__)

Values = Mapping[str, Any]
NOTHING: Values = MappingProxyType({})
REVERTING = ("revert", "weaken")  # a failed update or restart serves on with what it had


@dataclass(frozen=True, slots=True)
class Locked:
    """Work and its target, both held against other writers until the transaction ends."""

    row: Work
    target: Model | Version | Service | None


async def lock_held(session: WriteSession, claim: Claim, row: Work) -> Locked:
    """The claimed row and its target, if the claim still stands. Raises `ClaimLost`.

    The target first, as every other writer does: the other order could end in a deadlock on PostgreSQL.
    """
    target = await _lock_target(session, row)
    return Locked(await held(session, claim), target)


async def lock_operation(session: WriteSession, operation: Operation) -> Locked:
    """An operation, whoever holds it, and its target."""
    target = await _lock_target(session, operation)
    return Locked(await lock(session, Operation, operation.id), target)


async def _lock_target(session: WriteSession, row: Work) -> Model | Version | Service | None:
    if not isinstance(row, Operation) or row.target_type not in TARGETS:
        return None
    found: Model | Version | Service = await lock(session, TARGETS[row.target_type], row.target_id)
    return found


async def succeed(
    session: WriteSession, work: Locked, by: By, *, result: Mapping[str, Json], row: Values, target: Values
) -> None:
    """The effect is there: the target's succeeding move with `target` values, then the work's own with `row` values."""
    if isinstance(work.row, Operation):
        await _move_target(session, work, KINDS[work.row.kind].succeeds, by, target)
        await end(session, work.row, "succeed", by, **{"result": result, **row})
    else:
        await end(session, work.row, "deliver" if isinstance(work.row, Delivery) else "succeed", by, **row)


async def fail(
    session: WriteSession,
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


async def cancel(session: WriteSession, work: Locked, by: By, detail: str) -> None:
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


async def _move_target(session: WriteSession, work: Locked, move: str | None, by: By, values: Values) -> None:
    """The target may have been moved on meanwhile (deleted, paused): then the work ends without it."""
    if move is None or work.target is None:
        return
    machine = MACHINE_OF[type(work.target)]
    if work.target.status not in machine.moves[move].sources:
        log.info("%s ends, but %s is %s: no '%s'", work.row.id, work.target.id, work.target.status, move)
        return
    reverted = _live_wish(work.target) if move in REVERTING and isinstance(work.target, Service) else NOTHING
    why = By(by.actor, by.reason, by.message, work.row.id)
    await advance(session, work.target, move, why, **{**reverted, **values})


def _live_wish(service: Service) -> Values:
    """What was last ready is wanted again; the watcher tells the target where the handler could not."""
    if service.live_revision_id is None:
        return NOTHING
    return {"revision_id": service.live_revision_id, "replicas": service.live_replicas or service.replicas}
