"""Server-sent events (WHATWG HTML, 9.2) from the history table: `id:` is the sequence, `Last-Event-ID` resumes."""

import json
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from starlette.requests import Request
from starlette.responses import StreamingResponse

from api.dependencies import Context
from core.errors import Json
from state.documents import instant
from state.queries.history import changes
from state.tables import History, Operation, Prediction

Row = TypeVar("Row", Operation, Prediction)
KEEP_ALIVE_S = 15.0
STILL_HERE: Final = b": still here\n\n"


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
    return encode_text(event_id, name, json.dumps(document, ensure_ascii=False))


def encode_text(event_id: str | int, name: str, text: str) -> bytes:
    """One event whose data is a text of any lines."""
    data = "".join(f"data: {line}\n" for line in (text.splitlines() or [""]))
    return f"id: {event_id}\nevent: {name}\n{data}\n".encode()


def last_event_id(request: Request) -> int:
    """The sequence that the client has seen; 0 where it has seen none."""
    given = request.headers.get("last-event-id", "")
    return int(given) if given.isdecimal() and len(given) < 19 else 0


@dataclass(frozen=True, slots=True)
class News(Generic[Row]):
    """A look at a row: what has changed since the one before (perhaps nothing), and whether that was the last."""

    row: Row
    changes: Sequence[History]
    has_ended: bool


async def changes_of(
    context: Context, table: type[Row], row_id: str, after: int, finals: Collection[str], show: Callable[[Row], Json]
) -> AsyncIterator[bytes]:
    """Each change of status behind `after`, then the row as it ended (`event: done`); ends with the row."""
    async for news in _news_of(context, table, row_id, after, finals):
        for change in news.changes:
            yield encode(change.sequence, "status", history_document(change))
        if news.has_ended:
            yield encode(news.row.sequence, "done", show(news.row))
        elif not news.changes:
            yield STILL_HERE


async def output_of(context: Context, prediction_id: str, after: int, finals: Collection[str]) -> AsyncIterator[bytes]:
    """The same of a prediction in Replicate's events, the only ones that its clients let pass.

    `logs` is a status, `output` the output as JSON or `error` the sentence, and `done` says how it ended.
    """
    async for news in _news_of(context, Prediction, prediction_id, after, finals):
        for change in news.changes:
            yield encode_text(change.sequence, "logs", change.to_status)
        row = news.row
        if not news.has_ended:
            if not news.changes:
                yield STILL_HERE
        elif row.status == "succeeded":
            yield encode(row.sequence, "output", row.output)
            yield encode(row.sequence, "done", {})
        elif row.status == "failed":
            yield encode_text(row.sequence, "error", row.error or "")
            yield encode(row.sequence, "done", {"reason": "error"})
        else:
            yield encode(row.sequence, "done", {"reason": row.status})


async def _news_of(
    context: Context, table: type[Row], row_id: str, after: int, finals: Collection[str]
) -> AsyncIterator[News[Row]]:
    """A look whenever there is something new, at the latest when a client would take us for dead."""
    seen = after

    def has_news(row: Row) -> bool:
        return row.sequence > seen or row.status in finals

    while True:
        row = await context.waiters.wait(table, row_id, has_news, KEEP_ALIVE_S)
        if row is None:
            return
        async with context.database.read() as session:
            found: Sequence[History] = await changes(session, row_id, seen)
        seen = max((seen, *(change.sequence for change in found)))
        has_ended = row.status in finals and seen >= row.sequence
        yield News(row, found, has_ended)
        if has_ended:
            return
