"""Server-sent events (WHATWG HTML, 9.2): a row's changes from the history table, whose sequence is their `id:`, or a
tenant's events. `Last-Event-ID` resumes."""

import json
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Generic, TypeVar

from starlette.requests import Request
from starlette.responses import StreamingResponse

from api.admission import while_admitted
from api.dependencies import Context
from api.feed import OVERLAP
from api.schemas.events import event_document
from core.clock import now_micros, to_micros
from core.errors import Json
from core.ids import id_at, micros_of
from state.documents import instant
from state.queries import events
from state.queries.history import changes
from state.queries.lists import View
from state.tables import Event, History, Operation, Prediction

Row = TypeVar("Row", Operation, Prediction)
KEEP_ALIVE_S: Final = 15.0
# Of a route that streams, in the API's description.
EVENT_STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"text/event-stream": {"schema": {"description": "Server-sent events, until it has ended."}}}}
}
STILL_HERE: Final = b": still here\n\n"
EVENT_ID: Final = re.compile(r"evt_[0-9a-hjkmnp-tv-z]{26}")
# Who comes again may have missed an event that was made before the last one it saw, and committed after it.
AGAIN: Final = OVERLAP
# What was made longer ago than this the feed does not tell any more.
RECENT: Final = to_micros(timedelta(minutes=1))
LINE_END: Final = re.compile(r"\r\n|\r|\n")  # those of 9.2.5: to a client no other character ends a line


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


def event_stream(request: Request, context: Context, events: AsyncIterator[bytes]) -> StreamingResponse:
    """A response that no proxy holds back, and that ends when its reader is admitted no more."""
    return live(request, context, events, "text/event-stream")


def live(request: Request, context: Context, pieces: AsyncIterator[bytes], media_type: str) -> StreamingResponse:
    """The same of any pieces that come as they are made."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(while_admitted(request, context, pieces), media_type=media_type, headers=headers)


def encode(event_id: str | int, name: str, document: Json) -> bytes:
    """One event."""
    return encode_text(event_id, name, json.dumps(document, ensure_ascii=False))


def encode_text(event_id: str | int, name: str, text: str) -> bytes:
    """One event whose data is a text of any lines."""
    data = "".join(f"data: {line}\n" for line in LINE_END.split(text))
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
        # Where no history is left there is nothing to wait for: the row is as new as what we have seen.
        seen = max((seen, *(change.sequence for change in found))) if found else max(seen, row.sequence)
        has_ended = row.status in finals and seen >= row.sequence
        yield News(row, found, has_ended)
        if has_ended:
            return


def last_event(request: Request) -> str | None:
    """The event that a client has seen last."""
    given = request.headers.get("last-event-id", "")
    return given if EVENT_ID.fullmatch(given) else None


class Told:
    """The events of a replay that the feed may tell once more, as few as these are."""

    def __init__(self, last: str | None) -> None:
        """`last`: the event behind which the replay begins."""
        self._ids = set() if last is None else {last}
        self._least_id = id_at("evt", now_micros() - RECENT)

    def add(self, event_id: str) -> None:
        """Remember it, if it is not too old to come again."""
        if event_id >= self._least_id:
            self._ids.add(event_id)

    def __contains__(self, event_id: object) -> bool:
        return event_id in self._ids

    def __len__(self) -> int:
        return len(self._ids)


async def events_of(
    context: Context,
    tenant_id: str,
    view: View,
    last: str | None,
    keep_alive_s: float = KEEP_ALIVE_S,
) -> AsyncGenerator[bytes, None]:
    """A tenant's events that the view's filters let pass: those behind `last`, then each new one.

    No silence is longer than `keep_alive_s`: twice in that time it is looked whether anything was said, because of most
    events a filter may let none pass.
    """
    told, turn_s = Told(last), keep_alive_s / 2
    silent_since = float("-inf")
    async for ids in context.feed.follow(tenant_id, turn_s):
        new = [event_id for event_id in ids if event_id not in told]
        async for row in _news(context, tenant_id, view, last, told, new):
            yield _event(row)
            silent_since = time.monotonic()
        last = None
        if time.monotonic() - silent_since >= turn_s:
            yield STILL_HERE
            silent_since = time.monotonic()


async def _news(
    context: Context, tenant_id: str, view: View, last: str | None, told: Told, new: Sequence[str]
) -> AsyncIterator[Event]:
    """What is behind `last`, the first time: from now on nothing is missed; then those of the new ones."""
    if last is not None:
        least_id = id_at("evt", max(0, micros_of(last) - AGAIN))
        async for row in _events_since(context, tenant_id, view, least_id):
            if row.id not in told:
                yield row
            told.add(row.id)
    if new:
        async with context.database.read() as session:
            found = await events.chosen(session, tenant_id, view, new)
        for row in found:
            yield row


async def _events_since(context: Context, tenant_id: str, view: View, least_id: str) -> AsyncIterator[Event]:
    last: Event | None = None
    while True:
        async with context.database.read() as session:
            found = await events.after(session, tenant_id, view, least_id, last)
        for last in found:
            yield last
        if len(found) < events.MOST_AT_ONCE:
            return


def _event(row: Event) -> bytes:
    return encode(row.id, row.type, event_document(row))
