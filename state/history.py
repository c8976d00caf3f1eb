"""How a row begins and how its changes are remembered."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import Update, update

from core.clock import now_micros
from core.logs import current_request_id
from state.compiled import compiled
from state.datatables import Dataset
from state.direct import DirectSession, Writer
from state.installation import Counter
from state.jobtables import Job, Run
from state.machines import (
    DATASET,
    DELIVERY,
    JOB,
    MODEL,
    OPERATION,
    PREDICTION,
    REPLICA,
    RUN,
    SERVICE,
    VERSION,
    Machine,
)
from state.tables import Delivery, History, Model, Operation, Prediction, Replica, Service, Version

Stateful = Model | Version | Service | Replica | Dataset | Job | Run | Prediction | Operation | Delivery
Row = TypeVar("Row", Model, Version, Service, Replica, Dataset, Job, Run, Prediction, Operation, Delivery)

MACHINE_OF: Mapping[type[Any], Machine] = {
    Model: MODEL,
    Version: VERSION,
    Service: SERVICE,
    Replica: REPLICA,
    Dataset: DATASET,
    Job: JOB,
    Run: RUN,
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


async def begin(session: Writer, row: Stateful, by: By) -> None:
    """Insert a new row in its machine's initial status, with its first history row."""
    machine = MACHINE_OF[type(row)]
    row.status, row.sequence, row.since = machine.initial, 1, now_micros()
    row.reason, row.message = by.reason, by.message
    if isinstance(row, Prediction | Operation | Delivery):
        # Of the call that we are in, or of the work that this one follows from: a webhook is found by its request.
        row.request_id = current_request_id()
    if isinstance(row, Delivery):
        session.append(row)
    else:
        session.add(row)
    write_history(session, row, None, "create", by)
    if not isinstance(row, Prediction | Operation | Delivery):  # others refer to it
        await session.flush()
    session.tell("changed", machine.name, row.id)
    if isinstance(row, Service):
        await raise_routing_version(session)


def write_history(session: Writer, row: Stateful, before: str | None, move: str, by: By) -> None:
    """Remember the change that gave `row` its present status and sequence."""
    session.append(
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


async def raise_routing_version(session: Writer) -> None:
    """Say in this commit that gateways must read their table again."""
    if isinstance(session, DirectSession):
        session.at_end(_RaiseRoutingVersion)
    else:
        await session.execute(_raised())
    session.tell("routing")


class _RaiseRoutingVersion:
    """Once per transaction, and as late as may be: everybody else waits for the counter meanwhile."""

    async def __call__(self, session: DirectSession) -> None:
        await session.run(compiled(_raised(), session.dialect))


@cache
def _raised() -> Update:
    return update(Counter).where(Counter.name == "routing_version").values(value=Counter.value + 1)
