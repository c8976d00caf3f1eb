"""Events: what happened, newest first."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from starlette.responses import JSONResponse

from api.dependencies import Reading, WhoAsks
from api.pages import Listing, document
from api.routing import PlatformRoute
from api.schemas.events import EventPage, EventShown, event_document
from state.queries import events
from state.queries.lists import View

router = APIRouter(prefix="/api/v1/events", tags=["events"], route_class=PlatformRoute)
LIST = Listing({"type": "text", "resource_type": "text", "resource_id": "text", "created_at": "time"})


@router.get("", operation_id="list_events", openapi_extra=LIST.parameters, responses={200: {"model": EventPage}})
async def list_events(
    request: Request, session: Reading, who: WhoAsks, view: Annotated[View, Depends(LIST)]
) -> Response:
    """The tenant's events."""
    found = await events.listing(session, who.tenant_id, view)
    return JSONResponse(document(request, found, [event_document(row) for row in found.rows]))


@router.get("/{event_id}", operation_id="get_event", responses={200: {"model": EventShown}})
async def get_event(session: Reading, who: WhoAsks, event_id: str) -> Response:
    """One event."""
    return JSONResponse(event_document(await events.find(session, who.tenant_id, event_id)))
