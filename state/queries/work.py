"""When lanes have something to do: what the relay asks between wake-ups."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import ScalarSelect, Select, func, select

from state.claims import due_ids
from state.database import Session, db_now
from state.worktables import LANES


@dataclass(frozen=True, slots=True)
class Outlook:
    """The ids that are due now (best first, at most as many as asked for), and how long until the next one is due."""

    due: Sequence[str]
    next_in_micros: int | None


async def outlooks(session: Session, limits: Mapping[str, int]) -> dict[str, Outlook]:
    """What each of these lanes has to do, at most so many ids of each: one statement when none has anything."""
    lanes = tuple(limits)
    first: Sequence[int | None] = (await session.execute(_soonest(lanes))).one() if lanes else ()
    found = {}
    for lane, soonest in zip(lanes, first, strict=True):
        found[lane] = Outlook((), soonest)
        if soonest is not None and soonest <= 0:
            ids = await due_ids(session, lane, limits[lane]) if limits[lane] else ()
            found[lane] = Outlook(ids, await session.scalar(_next(lane)))
    return found


@cache
def _soonest(lanes: Sequence[str]) -> Select[*tuple[Any, ...]]:
    """How long until the first row of each lane is due: one index probe for each."""
    return select(*(_first(lane, is_to_come=False) for lane in lanes))


@cache
def _next(lane: str) -> Select[*tuple[Any, ...]]:
    return select(_first(lane, is_to_come=True))


def _first(lane: str, *, is_to_come: bool) -> ScalarSelect[Any]:
    table, waiting = LANES[lane].table, LANES[lane].waiting
    query = select(func.min(table.due_at) - db_now()).where(table.lane == lane, table.status == waiting)
    return (query.where(table.due_at > db_now()) if is_to_come else query).scalar_subquery()
