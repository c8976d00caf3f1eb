"""The one function that changes a status: guarded by the machine's table and the row's lock (and by a conditional
UPDATE where SQLAlchemy writes), it writes the history row, the event and the webhook deliveries in the transaction."""

from typing import Any

from sqlalchemy import select, update

from core.clock import now_micros
from core.errors import IllegalMove, NotFound
from state.database import WriteSession, db_now
from state.datatables import Dataset
from state.direct import DirectSession, Writer
from state.events import emit
from state.history import MACHINE_OF, By, Row, Stateful, raise_routing_version, write_history
from state.jobtables import Job, Run
from state.machines import Move
from state.tables import Model, Operation, Prediction, Replica, Service, Version

# The moves that somebody can ask for; the others are made by the platform itself.
OWNER_VERBS = frozenset(
    {"cancel", "delete", "pause", "redeliver", "restart", "resume", "retry", "rollback", "stop", "update"}
)


async def lock(session: WriteSession, table: type[Row], row_id: str) -> Row:
    """The row, held against other writers until this transaction ends. Raises `NotFound`.

    Keys never change, so rows that refer to this one may come meanwhile (`FOR NO KEY UPDATE`): who checks a foreign
    key would wait for us otherwise, and we perhaps for its transaction.
    """
    query = select(table).where(table.id == row_id).with_for_update(key_share=True)
    query = query.execution_options(populate_existing=True)
    row = (await session.execute(query)).scalar_one_or_none()
    if row is None:
        raise NotFound(f"no {MACHINE_OF[table].name} has the id '{row_id}'")
    return row


async def advance(session: Writer, row: Stateful, move_name: str, by: By, **values: object) -> None:
    """Make the move on a row that this transaction has locked, together with the column `values`.

    Raises `IllegalMove` naming the move, the status and what is possible there.
    """
    machine = MACHINE_OF[type(row)]
    move = machine.moves[move_name]
    before = row.status
    if before not in move.sources:
        raise illegal(row, move_name)
    changes = {"reason": by.reason, "message": by.message, "since": session.now, **_stamps(row), **values}
    if isinstance(session, WriteSession) and row in session.new:
        _set(row, move, changes)
    elif isinstance(session, DirectSession):
        session.change(row, {"status": str(move.to), "sequence": row.sequence + 1, **changes})
    else:
        await _update(session, row, move, changes)
    write_history(session, row, before, move.name, by)
    session.tell("changed", machine.name, row.id)
    if isinstance(row, Replica | Service):
        await raise_routing_version(session)
    if move.event and not (_is_another_start(row, move_name) or _is_bookkeeping(row, before)):
        await emit(session, row, move.event)


def _set(row: Stateful, move: Move, changes: dict[str, Any]) -> None:
    """Change a row that this very transaction makes, before it is inserted: nobody else can hold it."""
    for name, value in {**changes, "status": move.to, "sequence": row.sequence + 1}.items():
        setattr(row, name, now_micros() if isinstance(value, db_now) else value)


async def _update(session: WriteSession, row: Stateful, move: Move, changes: dict[str, Any]) -> None:
    table = type(row)
    statement = (
        update(table)
        .where(table.id == row.id, table.status.in_(sorted(move.sources)))
        .values(status=move.to, sequence=table.sequence + 1, **changes)
        .returning(table)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    if (await session.execute(statement)).scalar_one_or_none() is None:
        await session.refresh(row)
        raise illegal(row, move.name)


def _is_another_start(row: Stateful, move_name: str) -> bool:
    """A prediction that waited for a replica, or is tried again, is told to have started only once."""
    return isinstance(row, Prediction) and move_name == "start" and row.epoch > 1


def _is_bookkeeping(row: Stateful, before: str) -> bool:
    """A change of rows that succeeded as it was asked for: its caller has the answer, and nobody waits for more."""
    return isinstance(row, Operation) and before == "queued" and row.status == "succeeded"


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
    if isinstance(row, Model | Version | Service | Dataset | Job | Run):
        return {"edition": row.edition + 1, "updated_at": now_micros()}
    return {}
