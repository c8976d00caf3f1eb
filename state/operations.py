"""Submitting operations: the wish, the work, the audit row and the history in the caller's one transaction."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select

from core.clock import now_micros, to_micros
from core.errors import IllegalMove, Json
from core.ids import new_id
from state.claims import end
from state.database import Session, WriteSession
from state.datatables import Dataset
from state.history import By, begin
from state.jobtables import Job, Run
from state.kinds import KINDS
from state.switches import DEPLOYS, check_deploys
from state.tables import Audit, File, Model, Operation, Service, Token, Version, WebhookEndpoint


@dataclass(frozen=True, slots=True)
class Named:
    """A target that is no resource: a switch, or what a request for many is about."""

    id: str
    name: str
    generation: int = 1


Target = Model | Version | Service | Dataset | Job | Run | WebhookEndpoint | Token | File | Named


@dataclass(frozen=True, slots=True)
class Who:
    """Who asks: the tenant it belongs to, how history names it, its role, and the request's id.

    `run_id` is of a script that asks with its own token; `has_token` is false of a caller of this machine who needs
    none.
    """

    tenant_id: str
    actor: str
    role: str
    request_id: str | None = None
    run_id: str | None = None
    has_token: bool = True


async def submit(session: WriteSession, who: Who, kind_name: str, target: Target, **arguments: object) -> Operation:
    """Queue an operation on `target`; the caller has made the target's starting move in this transaction.

    Raises `SwitchedOff` for a deployment while there shall be none.
    """
    return await submit_in(session, KINDS[kind_name].lane, who, kind_name, target, arguments)


async def submit_in(
    session: WriteSession, lane: str, who: Who, kind_name: str, target: Target, arguments: dict[str, object]
) -> Operation:
    """The same for one that begins in another lane than its kind's."""
    kind = KINDS[kind_name]
    if kind_name in DEPLOYS:
        await check_deploys(session)
    operation = _new(who, kind_name, target, arguments)
    if kind.deadline_s is not None:
        operation.deadline_at = session.now + to_micros(timedelta(seconds=kind.deadline_s))
    operation.lane = lane
    await begin(session, operation, By(who.actor))
    _audit(session, who, operation)
    session.tell("work", operation.lane, operation.id)
    return operation


async def record(session: WriteSession, who: Who, kind_name: str, target: Target, **arguments: object) -> Operation:
    """Remember a mutation that only changed rows: an operation that has `succeeded`, with `arguments` as its result."""
    operation = _new(who, kind_name, target, arguments)
    await begin(session, operation, By(who.actor))
    _audit(session, who, operation)
    await end(session, operation, "succeed", By(who.actor), result=arguments, started_at=operation.created_at)
    return operation


async def unfinished(session: Session, target_id: str) -> list[Operation]:
    """The queued and running operations on a target, oldest first."""
    query = select(Operation).where(Operation.target_id == target_id, Operation.status.in_(["queued", "running"]))
    return list(
        await session.scalars(query.order_by(Operation.created_at, Operation.id).with_for_update(key_share=True))
    )


async def supersede(session: WriteSession, older: list[Operation], newer: Operation, by: By) -> None:
    """End older wishes for the same target: `canceled`, with `superseded_by`; their holders can write nothing more."""
    for operation in older:
        problem = canceled_problem(f"a newer {newer.kind} took its place")
        await end(session, operation, "cancel", by, error=problem, superseded_by=newer.id, cancel_requested=True)


def canceled_problem(detail: str) -> dict[str, Json]:
    """The `error` of a canceled operation: a problem document with the code `canceled`."""
    return {
        "type": "urn:portside:problem:canceled",
        "title": "Canceled",
        "status": 409,
        "detail": detail,
        "code": "canceled",
    }


def held_by(error: IllegalMove, holders: list[Operation]) -> IllegalMove:
    """The same conflict with a link to the operation that holds the resource, where there is one."""
    if holders:
        error.extensions["operation"] = f"/api/v1/operations/{holders[0].id}"
    return error


def _new(who: Who, kind: str, target: Target, arguments: dict[str, object]) -> Operation:
    return Operation(
        id=new_id("op"),
        tenant_id=who.tenant_id,
        created_at=now_micros(),
        lane="control",
        kind=kind,
        target_type=kind.split(".", 1)[0],
        target_id=target.id,
        target_name=_name_of(target),
        generation=_generation_of(target),
        actor=who.actor,
        arguments=arguments,
    )


def _generation_of(target: Target) -> int:
    if isinstance(target, Token | File):
        return 1
    return target.edition if isinstance(target, WebhookEndpoint) else target.generation


def _name_of(target: Target) -> str:
    if isinstance(target, Version):
        return str(target.number)
    return (target.url if isinstance(target, WebhookEndpoint) else target.name)[:120]


def _audit(session: WriteSession, who: Who, operation: Operation) -> None:
    session.append(
        Audit(
            id=new_id("aud"),
            tenant_id=who.tenant_id,
            created_at=operation.created_at,
            actor=who.actor,
            action=operation.kind,
            target_type=operation.target_type,
            target_id=operation.target_id,
            target_name=operation.target_name,
            operation_id=operation.id,
            request_id=who.request_id,
        )
    )
