"""How an event is shown: what a registered endpoint receives, with its id."""

from typing import Any

from api.schemas.base import Answer, Instant
from core.errors import Json
from state.documents import instant
from state.tables import Event


class EventShown(Answer):
    """One event."""

    id: str
    type: str
    timestamp: Instant
    resource_type: str
    resource_id: str
    sequence: int
    data: dict[str, Any]


class EventPage(Answer):
    """One page of events."""

    items: list[EventShown]
    next_page_token: str | None
    total: int | None = None


def event_document(row: Event) -> dict[str, Json]:
    """The event object."""
    return {
        "id": row.id,
        "type": row.type,
        "timestamp": instant(row.created_at),
        "resource_type": row.resource_type,
        "resource_id": row.resource_id,
        "sequence": row.sequence,
        "data": row.data,
    }
