"""The one function that changes a status: guarded by the machine's table and by a conditional UPDATE, it writes the
history row, the event and the webhook deliveries in the same transaction."""

from typing import Any

from sqlalchemy import select, update

from core.clock import now_micros
from core.errors import IllegalMove, NotFound
from state.database import WriteSession, db_now
from state.events import emit
from state.history import MACHINE_OF, By, Row, Stateful, raise_routing_version, write_history
from state.tables import Model, Prediction, Replica, Service, Version

# The moves that somebody can ask for; the others are made by the platform itself.
OWNER_VERBS = frozenset({"cancel", "delete", "pause", "redeliver", "restart", "resume", "retry", "stop", "update"})


async def lock(session: WriteSession, table: type[Row], row_id: str) -> Row:
    """The row, held against other writers until this transaction ends. Raises `NotFound`."""
    query = select(table).where(table.id == row_id).with_for_update().execution_options(populate_existing=True)
    row = (await session.execute(query)).scalar_one_or_none()
    if row is None:
        raise NotFound(f"no {MACHINE_OF[table].name} has the id '{row_id}'")
    return row


async def advance(session: WriteSession, row: Stateful, move_name: str, by: By, **values: object) -> None:
    """Make the move on a row that this transaction has locked, together with the column `values`.

    Raises `IllegalMove` naming the move, the status and what is possible there.
    """
    machine = MACHINE_OF[type(row)]
    move = machine.moves[move_name]
    before, table = row.status, type(row)
    if before not in move.sources:
        raise illegal(row, move_name)
    changes = {"reason": by.reason, "message": by.message, "since": db_now(), **_stamps(row), **values}
    statement = (
        update(table)
        .where(table.id == row.id, table.status.in_(sorted(move.sources)))
        .values(status=move.to, sequence=table.sequence + 1, **changes)
        .returning(table)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    if (await session.execute(statement)).scalar_one_or_none() is None:
        await session.refresh(row)
        raise illegal(row, move_name)
    write_history(session, row, before, move.name, by)
    session.tell("changed", machine.name, row.id)
    if isinstance(row, Replica | Service):
        await raise_routing_version(session)
    if move.event and not _is_another_start(row, move_name):
        await emit(session, row, move.event)


def _is_another_start(row: Stateful, move_name: str) -> bool:
    """A prediction that waited for a replica, or is tried again, is told to have started only once."""
    return isinstance(row, Prediction) and move_name == "start" and row.epoch > 1


def illegal(row: Stateful, verb: str) -> IllegalMove:
    """The conflict that names itself: the resource, its status, and the moves that are possible from there."""
    machine = MACHINE_OF[type(row)]
    allowed = [move for move in machine.legal_from(row.status) if move in OWNER_VERBS]
    possible = f"possible now: {', '.join(allowed)}" if allowed else "nothing can be asked of it now"
    name = getattr(row, "name", row.id)
    return IllegalMove(
        f"{machine.name} '{name}' is {row.status}; '{verb}' is not possible from there; {possible}",
        current_status=str(row.status),
        allowed=list(allowed),
    )


def _stamps(row: Stateful) -> dict[str, Any]:
    if isinstance(row, Model | Version | Service):
        return {"edition": row.edition + 1, "updated_at": now_micros()}
    return {}
