"""The middle of expand → backfill → contract: rows of an older release are completed in small transactions.

The platform works meanwhile, old processes included, so a batch may find rows that came after the one before it.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite

from state.database import Database, WriteSession
from state.installation import Counter
from state.tables import Audit, Operation

DONE = "backfilled"  # the counter with the newest schema whose rows are complete
BATCH = 500


@dataclass(frozen=True, slots=True)
class Backfill:
    """`batch` completes some rows that `schema` needs complete, and answers how many; 0 ends it. Safe to run twice."""

    schema: str
    batch: Callable[[WriteSession], Awaitable[int]]


async def request_ids(session: WriteSession) -> int:
    """Operations of releases that kept the request's id in the audit alone get it, for whoever follows a log."""
    known = select(Operation.id, Audit.request_id).join(Audit, Audit.operation_id == Operation.id)
    lacking = known.where(Operation.request_id.is_(None), Audit.request_id.is_not(None)).limit(BATCH)
    rows = (await session.execute(lacking)).all()
    for operation_id, request_id in rows:
        complete = update(Operation).where(Operation.id == operation_id).values(request_id=request_id)
        await session.execute(complete.execution_options(synchronize_session=False))
    return len(rows)


BACKFILLS: tuple[Backfill, ...] = (Backfill("0003", request_ids),)


async def backfill(database: Database, schema: str, backfills: Sequence[Backfill] = BACKFILLS) -> int:
    """Complete what `schema` needs and no earlier run has completed; answers how many rows were. Raises
    `DatabaseBusy`, and then a later run goes on."""
    count = 0
    for each in backfills:
        if each.schema > schema or await _is_done(database, each.schema):
            continue
        completed = -1
        while completed != 0:
            async with database.write() as session:
                completed = await each.batch(session)
            count += completed
        await _mark(database, each.schema)
    return count


async def _is_done(database: Database, schema: str) -> bool:
    async with database.read() as session:
        done = await session.scalar(select(Counter.value).where(Counter.name == DONE))
    return done is not None and done >= int(schema)


async def _mark(database: Database, schema: str) -> None:
    insert = postgresql.insert if database.dialect == "postgresql" else sqlite.insert
    row = insert(Counter).values(name=DONE, value=int(schema))
    async with database.write() as session:
        await session.execute(row.on_conflict_do_update(index_elements=[Counter.name], set_={"value": int(schema)}))
