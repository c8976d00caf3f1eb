"""How a row begins and how its changes are remembered."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import update

from core.clock import now_micros
from state.database import WriteSession
from state.installation import Counter
from state.machines import DELIVERY, MODEL, OPERATION, PREDICTION, REPLICA, SERVICE, VERSION, Machine
from state.tables import Delivery, History, Model, Operation, Prediction, Replica, Service, Version

Stateful = Model | Version | Service | Replica | Prediction | Operation | Delivery
Row = TypeVar("Row", Model, Version, Service, Replica, Prediction, Operation, Delivery)

MACHINE_OF: Mapping[type[Any], Machine] = {
    Model: MODEL,
    Version: VERSION,
    Service: SERVICE,
    Replica: REPLICA,
    Prediction: PREDICTION,
    Operation: OPERATION,
    Delivery: DELIVERY,
}


@dataclass(frozen=True, slots=True)
class By:
    """Who or what makes a change, and why: the columns of a history row."""

    actor: str
    reason: str | None = None
    message: str | None = None
    operation_id: str | None = None


async def begin(session: WriteSession, row: Stateful, by: By) -> None:
    """Insert a new row in its machine's initial status, with its first history row."""
    machine = MACHINE_OF[type(row)]
    row.status, row.sequence, row.since = machine.initial, 1, now_micros()
    row.reason, row.message = by.reason, by.message
    session.add(row)
    await session.flush()
    write_history(session, row, None, "create", by)
    session.tell("changed", machine.name, row.id)
    if isinstance(row, Service):
        await raise_routing_version(session)


def write_history(session: WriteSession, row: Stateful, before: str | None, move: str, by: By) -> None:
    """Remember the change that gave `row` its present status and sequence."""
    session.add(
        History(
            resource_id=row.id,
            sequence=row.sequence,
            resource_type=MACHINE_OF[type(row)].name,
            from_status=before,
            to_status=row.status,
            move=move,
            actor=by.actor,
            reason=by.reason,
            message=by.message,
            operation_id=by.operation_id,
            at=now_micros(),
        )
    )


async def raise_routing_version(session: WriteSession) -> None:
    """Say in this commit that gateways must read their table again."""
    await session.execute(update(Counter).where(Counter.name == "routing_version").values(value=Counter.value + 1))
    session.tell("routing")
