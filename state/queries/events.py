"""Events: what happened, in the past tense, as webhooks, lists and streams tell it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import select

from core.clock import Micros
from state.database import Session
from state.machines import MACHINES
from state.queries.lists import Cursor, Page, View, page
from state.queries.rows import owned
from state.tables import Event

MOST_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Happened:
    """That there is an event, and whose."""

    id: str
    tenant_id: str
    created_at: Micros


def event_types() -> frozenset[str]:
    """Every type that a webhook endpoint may ask for."""
    moves = (move for machine in MACHINES.values() for move in machine.moves.values())
    return frozenset({"webhook.disabled"}.union(move.event for move in moves if move.event))


async def find(session: Session, tenant_id: str, event_id: str) -> Event:
    """The tenant's event. Raises `NotFound`."""
    return await owned(session, Event, tenant_id, event_id, "event")


async def listing(session: Session, tenant_id: str, view: View) -> Page[Event]:
    """The tenant's events."""
    return await page(session, select(Event).where(Event.tenant_id == tenant_id), Event, view)


async def happened_since(session: Session, least_id: str) -> Sequence[Happened]:
    """All events whose ids are not below this one, everybody's, the oldest first."""
    found: list[Happened] = []
    while True:
        last = found[-1].id if found else least_id
        behind = Event.id > last if found else Event.id >= last
        query = select(Event.id, Event.tenant_id, Event.created_at).where(behind).order_by(Event.id)
        rows = (await session.execute(query.limit(MOST_AT_ONCE))).all()
        found += [Happened(*row) for row in rows]
        if len(rows) < MOST_AT_ONCE:
            return found


async def chosen(session: Session, tenant_id: str, view: View, ids: Sequence[str]) -> Sequence[Event]:
    """Those of these events that a list with this view would have, the oldest first."""
    found: list[Event] = []
    for begin in range(0, len(ids), MOST_AT_ONCE):
        some = ids[begin : begin + MOST_AT_ONCE]
        query = select(Event).where(Event.tenant_id == tenant_id, Event.id.in_(some))
        found += (await page(session, query, Event, _from_the_oldest(view))).rows
    return found


async def after(session: Session, tenant_id: str, view: View, least_id: str, last: Event | None) -> Sequence[Event]:
    """The next of the tenant's events that a list with this view would have, from an id on, behind the `last` one."""
    query = select(Event).where(Event.tenant_id == tenant_id, Event.id >= least_id)
    start = None if last is None else Cursor(last.created_at, last.id)
    return (await page(session, query, Event, replace(_from_the_oldest(view), after=start))).rows


def _from_the_oldest(view: View) -> View:
    return View(view.conditions, "created_at", descending=False, size=MOST_AT_ONCE)
