"""Operations: list, get, wait, cancel, retry, and their changes as a stream (API.md section 2)."""

import hashlib
import json
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.responses import JSONResponse

from api.dependencies import ContextOf, Reading, WhoAsks
from api.filters import statuses
from api.headers import is_not_modified
from api.links import links_for
from api.mutations import Call, Calling, Effect
from api.pages import Listing, listed
from api.routing import PlatformRoute
from api.schemas.operations import FINAL, OperationPage, OperationShown, operation_document
from api.streams import EVENT_STREAM, changes_of, event_stream, last_event_id
from state.database import WriteSession
from state.machines import OPERATION
from state.queries import operations
from state.queries.lists import View
from state.tables import Operation

router = APIRouter(prefix="/api/v1/operations", tags=["operations"], route_class=PlatformRoute)
LIST = Listing(
    {
        "kind": "text",
        "status": statuses(OPERATION),
        "target_type": "text",
        "target_id": "text",
        "target_name": "text",
        "created_at": "time",
    }
)
Seconds = Annotated[float, Query(alias="timeout", ge=0, le=60, description="Seconds to wait at most.")]


@router.get(
    "", operation_id="list_operations", openapi_extra=LIST.parameters, responses={200: {"model": OperationPage}}
)
async def list_operations(
    request: Request, context: ContextOf, session: Reading, who: WhoAsks, view: Annotated[View, Depends(LIST)]
) -> Response:
    """The operations, newest first."""
    links = links_for(request, context.settings)
    found = await operations.listing(session, who.tenant_id, view)
    return listed(request, found, [operation_document(row, links) for row in found.rows])


@router.get("/{operation_id}", operation_id="get_operation", responses={200: {"model": OperationShown}})
async def get_operation(
    request: Request, context: ContextOf, session: Reading, who: WhoAsks, operation_id: str
) -> Response:
    """One operation; poll it while `done` is false, or use `:wait`."""
    return _shown(request, context, await operations.find(session, who.tenant_id, operation_id))


@router.get("/{operation_id}:wait", operation_id="wait_for_operation", responses={200: {"model": OperationShown}})
async def wait_for_operation(
    request: Request, context: ContextOf, who: WhoAsks, operation_id: str, timeout_s: Seconds = 30
) -> Response:
    """The operation when it is done, or as it is when the time is over. Going away cancels nothing."""
    async with context.database.read() as session:
        operation = await operations.find(session, who.tenant_id, operation_id)
    if operation.status not in FINAL:
        operation = await context.waiters.wait_final(Operation, operation_id, FINAL, timeout_s) or operation
    return _shown(request, context, operation)


@router.get("/{operation_id}/events", operation_id="stream_operation_events", responses=EVENT_STREAM)
async def stream_operation_events(request: Request, context: ContextOf, who: WhoAsks, operation_id: str) -> Response:
    """Its changes as server-sent events; ends with the operation. `Last-Event-ID` resumes."""
    async with context.database.read() as session:
        await operations.find(session, who.tenant_id, operation_id)
    links = links_for(request, context.settings)
    after = last_event_id(request)
    changes = changes_of(context, Operation, operation_id, after, FINAL, lambda row: operation_document(row, links))
    return event_stream(request, context, changes)


@router.post("/{operation_id}:cancel", operation_id="cancel_operation", responses={200: {"model": OperationShown}})
async def cancel_operation(call: Calling, operation_id: str) -> Response:
    """Ask it to stop: queued work ends at once, running work soon. Idempotent; what has ended stays as it is."""
    return await _cancel(call, operation_id)


@router.post("/{operation_id}/cancel", operation_id="cancel_operation_by_path", include_in_schema=False)
async def cancel_operation_by_path(call: Calling, operation_id: str) -> Response:
    """The same under the path that Replicate's clients use."""
    return await _cancel(call, operation_id)


@router.post(
    "/{operation_id}:retry", operation_id="retry_operation", status_code=202, responses={202: {"model": OperationShown}}
)
async def retry_operation(call: Calling, operation_id: str) -> Response:
    """Try a failed operation again."""

    async def work(session: WriteSession) -> Effect[Operation]:
        return Effect(await operations.retry(session, call.who, operation_id))

    return await call.mutate(work)


async def _cancel(call: Call, operation_id: str) -> Response:
    async def work(session: WriteSession) -> Effect[Operation]:
        return Effect(await operations.request_cancel(session, call.who, operation_id))

    made = await call.once(Operation, work)
    row = made.row
    if row.status not in FINAL and call.wait_s() > 0:
        row = await call.context.waiters.wait_final(Operation, operation_id, FINAL, call.wait_s()) or row
    return _shown(call.request, call.context, row, call.headers(made.replayed))


def _shown(request: Request, context: ContextOf, row: Operation, headers: dict[str, str] | None = None) -> Response:
    body = operation_document(row, links_for(request, context.settings))
    sent = {"ETag": f'"{hashlib.sha256(json.dumps(body).encode()).hexdigest()[:20]}"', **(headers or {})}
    if row.status not in FINAL:
        sent["Retry-After"] = "1"
    if request.method in ("GET", "HEAD") and is_not_modified(request, sent["ETag"]):
        return Response(status_code=304, headers=sent)
    return JSONResponse(body, headers=sent)
