"""Events: what happened, newest first; or what happens, as server-sent events."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from starlette.responses import JSONResponse

from api.dependencies import ContextOf, Reading, WhoAsks
from api.pages import Listing, listed
from api.routing import PlatformRoute
from api.schemas.events import EventPage, EventShown, event_document
from api.streams import event_stream, events_of, last_event
from state.queries import events
from state.queries.lists import View

router = APIRouter(prefix="/api/v1/events", tags=["events"], route_class=PlatformRoute)
LIST = Listing({"type": "text", "resource_type": "text", "resource_id": "text", "created_at": "time"})


@router.get(
    "",
    operation_id="list_events",
    openapi_extra=LIST.parameters,
    responses={200: {"model": EventPage, "content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def list_events(
    request: Request, context: ContextOf, who: WhoAsks, view: Annotated[View, Depends(LIST)]
) -> Response:
    """The tenant's events; with `Accept: text/event-stream` those that happen from now on, as they do.

    `Last-Event-ID` goes on behind an event. After a break one may come twice: its id tells. A stream ends soon after
    its token is revoked or expires.
    """
    if "text/event-stream" in request.headers.get("accept", ""):
        return event_stream(request, context, events_of(context, who.tenant_id, view, last_event(request)))
    async with context.database.read() as session:
        found = await events.listing(session, who.tenant_id, view)
    return listed(request, found, [event_document(row) for row in found.rows])


@router.get("/{event_id}", operation_id="get_event", responses={200: {"model": EventShown}})
async def get_event(session: Reading, who: WhoAsks, event_id: str) -> Response:
    """One event."""
    return JSONResponse(event_document(await events.find(session, who.tenant_id, event_id)))
