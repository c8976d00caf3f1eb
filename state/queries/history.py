"""The changes of a resource's status: from, to, move, who, why, operation, when."""

from collections.abc import Sequence

from sqlalchemy import func, select

from state.database import Session
from state.queries.lists import Cursor, Page, View
from state.tables import History


async def changes(session: Session, resource_id: str, after: int = 0, limit: int = 500) -> Sequence[History]:
    """The changes behind the sequence `after`, oldest first."""
    query = select(History).where(History.resource_id == resource_id, History.sequence > after)
    return list(await session.scalars(query.order_by(History.sequence).limit(limit)))


async def list_changes(session: Session, resource_id: str, view: View) -> Page[History]:
    """The changes of a resource in pages; their order is that of the sequence, which is also that of time."""
    query = select(History).where(History.resource_id == resource_id)
    total = await session.scalar(select(func.count()).select_from(query.subquery())) if view.count else None
    if view.after is not None:
        last = int(view.after.value)
        query = query.where(History.sequence < last if view.descending else History.sequence > last)
    order = History.sequence.desc() if view.descending else History.sequence
    rows = list(await session.scalars(query.order_by(order).limit(view.size + 1)))
    more = len(rows) > view.size
    shown = rows[: view.size]
    return Page(shown, Cursor(shown[-1].sequence, resource_id) if more else None, total)
