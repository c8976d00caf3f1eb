"""Server-sent events (WHATWG HTML, 9.2) from the history table: `id:` is the sequence, `Last-Event-ID` resumes."""

import json
from collections.abc import AsyncIterator, Callable, Collection
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import StreamingResponse

from api.dependencies import Context
from core.errors import Json
from state.documents import instant
from state.queries.history import changes
from state.tables import History, Operation, Prediction

Row = TypeVar("Row", Operation, Prediction)
KEEP_ALIVE_S = 15.0


def history_document(row: History) -> dict[str, Json]:
    """One change of a status."""
    return {
        "sequence": row.sequence,
        "from": row.from_status,
        "to": row.to_status,
        "move": row.move,
        "actor": row.actor,
        "reason": row.reason,
        "message": row.message,
        "operation": row.operation_id,
        "at": instant(row.at),
    }


def event_stream(events: AsyncIterator[bytes]) -> StreamingResponse:
    """A response that no proxy holds back."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


def encode(event_id: str | int, name: str, document: Json) -> bytes:
    """One event."""
    return f"id: {event_id}\nevent: {name}\ndata: {json.dumps(document, ensure_ascii=False)}\n\n".encode()


def last_event_id(request: Request) -> int:
    """The sequence that the client has seen; 0 where it has seen none."""
    given = request.headers.get("last-event-id", "")
    return int(given) if given.isdecimal() and len(given) < 19 else 0


async def changes_of(
    context: Context, table: type[Row], row_id: str, after: int, finals: Collection[str], show: Callable[[Row], Json]
) -> AsyncIterator[bytes]:
    """Each change of status behind `after`, then the row as it ended (`event: done`); ends with the row."""
    seen = after

    def has_news(row: Row) -> bool:
        return row.sequence > seen or row.status in finals

    while True:
        row = await context.waiters.wait(table, row_id, has_news, KEEP_ALIVE_S)
        if row is None:
            return
        async with context.database.read() as session:
            news = await changes(session, row_id, seen)
        for change in news:
            seen = change.sequence
            yield encode(seen, "status", history_document(change))
        if row.status in finals and seen >= row.sequence:
            yield encode(seen, "done", show(row))
            return
        if not news:
            yield b": still here\n\n"
