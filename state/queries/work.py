"""When lanes have something to do: what the relay asks between wake-ups."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select

from state.claims import due_ids
from state.database import Session, db_now
from state.worktables import LANES


@dataclass(frozen=True, slots=True)
class Outlook:
    """The ids that are due now (best first, at most as many as asked for), and how long until the next one is due."""

    due: Sequence[str]
    next_in_micros: int | None


async def outlook(session: Session, lane: str, limit: int) -> Outlook:
    """What a lane has to do; one index probe when it has nothing."""
    table, waiting = LANES[lane].table, LANES[lane].waiting
    soonest = select(func.min(table.due_at) - db_now()).where(table.lane == lane, table.status == waiting)
    first: int | None = await session.scalar(soonest)
    if first is None or first > 0:
        return Outlook((), first)
    ids = await due_ids(session, lane, limit) if limit else ()
    return Outlook(ids, await session.scalar(soonest.where(table.due_at > db_now())))
