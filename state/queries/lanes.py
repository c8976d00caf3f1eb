"""How much work waits in each lane, and since when: what an operator looks at first."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, literal, select

from state.claims import LANES
from state.database import Session, db_now


@dataclass(frozen=True, slots=True)
class Backlog:
    """One lane: rows that are due and wait, since how long the oldest does, and rows that are worked on."""

    lane: str
    waiting: int
    oldest_s: float
    working: int


async def backlogs(session: Session) -> Sequence[Backlog]:
    """Every lane, by name."""
    found = []
    for lane, work in sorted(LANES.items()):
        table = work.table
        due = (table.lane == lane, table.status == work.waiting, table.due_at <= db_now())
        oldest = func.coalesce(db_now() - func.min(table.due_at), 0)
        waiting, age = (await session.execute(select(func.count(), oldest).where(*due))).one()
        held = select(func.count()).where(table.lane == lane, table.status == work.working)
        found.append(Backlog(lane, waiting, max(age, 0) / 1_000_000, await session.scalar(held) or 0))
    return found


async def ping(session: Session) -> None:
    """The database answers. Raises `DatabaseBusy` through the session otherwise."""
    await session.execute(select(literal(1)))
