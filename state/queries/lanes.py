"""How much work waits in each lane, and since when: what an operator looks at first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, literal, select

from state.database import Session, db_now
from state.jobtables import LIVE, Run
from state.statuses import RunStatus
from state.worktables import LANES

MOST_COUNTED = 10_000
UNDER_WAY: Final = tuple(status for status in RunStatus if status not in ("succeeded", "failed", "stopped"))


@dataclass(frozen=True, slots=True)
class Backlog:
    """One lane: rows that are due and wait (at most `MOST_COUNTED` are counted), since how long the oldest does, and
    rows that are worked on."""

    lane: str
    waiting: int
    oldest_s: float
    working: int


async def backlogs(session: Session) -> Sequence[Backlog]:
    """Every lane, by name."""
    found = []
    for lane, work in sorted(LANES.items()):
        table = work.table
        waits = (table.lane == lane, table.status == work.waiting)
        # The oldest is one probe of an index, and a count ends somewhere: a lane of millions is looked at as often.
        age = await session.scalar(select(db_now() - func.min(table.due_at)).where(*waits))
        now = select(db_now()).scalar_subquery()  # once, and not for each row: a clock is no bound of an index
        due = select(literal(1)).where(*waits, table.due_at <= now).limit(MOST_COUNTED).subquery()
        waiting = await session.scalar(select(func.count()).select_from(due))
        held = select(func.count()).where(table.lane == lane, table.status == work.working)
        found.append(Backlog(lane, waiting or 0, max(age or 0, 0) / 1_000_000, await session.scalar(held) or 0))
    return found


async def runs_under_way(session: Session) -> Mapping[str, int]:
    """How many runs have each status, of those that have not ended."""
    query = select(Run.status, func.count()).where(LIVE).group_by(Run.status)
    return dict((await session.execute(query)).all())


async def ping(session: Session) -> None:
    """The database answers. Raises `DatabaseBusy` through the session otherwise."""
    await session.execute(select(literal(1)))
