"""Events: what happened, in the past tense, as webhooks and lists tell it."""

from sqlalchemy import select

from state.database import Session
from state.machines import MACHINES
from state.queries.lists import Page, View, page
from state.queries.rows import owned
from state.tables import Event


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
