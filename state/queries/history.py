"""The changes of a resource's status: from, to, move, who, why, operation, when."""

from collections.abc import Sequence

from sqlalchemy import select

from state.database import Session
from state.tables import History


async def changes(session: Session, resource_id: str, after: int = 0, limit: int = 500) -> Sequence[History]:
    """The changes behind the sequence `after`, oldest first."""
    query = select(History).where(History.resource_id == resource_id, History.sequence > after)
    return list(await session.scalars(query.order_by(History.sequence).limit(limit)))
