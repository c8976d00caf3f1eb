"""The delivery log of a webhook endpoint, and sending one delivery or a range again."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from starlette.responses import JSONResponse

from api.dependencies import Reading, WhoAsks
from api.filters import statuses
from api.headers import etag
from api.mutations import Calling, Effect
from api.pages import Listing, listed
from api.routes.webhooks import show_delivery
from api.routing import PlatformRoute
from api.schemas.operations import OperationShown
from api.schemas.webhooks import DeliveryPage, DeliveryShown, Redelivery, delivery_document
from core.clock import from_rfc3339
from core.errors import FieldProblem, InvalidField
from state.database import WriteSession
from state.machines import DELIVERY
from state.operations import record
from state.queries import webhooks
from state.queries.lists import View
from state.tables import Operation

router = APIRouter(prefix="/api/v1/webhooks", tags=["webhooks"], route_class=PlatformRoute)
LIST = Listing({"status": statuses(DELIVERY), "event_type": "text", "event_id": "text", "created_at": "time"})
SHOWN: dict[int | str, dict[str, object]] = {200: {"model": DeliveryShown}}


@router.get(
    "/{webhook_id}/deliveries",
    operation_id="list_deliveries",
    openapi_extra=LIST.parameters,
    responses={200: {"model": DeliveryPage}},
)
async def list_deliveries(
    request: Request, session: Reading, who: WhoAsks, webhook_id: str, view: Annotated[View, Depends(LIST)]
) -> Response:
    """What was sent to the endpoint, newest first, with each attempt's answer."""
    endpoint = await webhooks.find(session, who.tenant_id, webhook_id)
    found = await webhooks.deliveries(session, endpoint, view)
    return listed(request, found, [delivery_document(row) for row in found.rows])


@router.get("/{webhook_id}/deliveries/{delivery_id}", operation_id="get_delivery", responses=SHOWN)
async def get_delivery(session: Reading, who: WhoAsks, webhook_id: str, delivery_id: str) -> Response:
    """One delivery."""
    endpoint = await webhooks.find(session, who.tenant_id, webhook_id)
    row = await webhooks.find_delivery(session, who.tenant_id, endpoint.id, delivery_id)
    return JSONResponse(delivery_document(row))


@router.post("/{webhook_id}/deliveries/{delivery_id}:redeliver", operation_id="redeliver", responses=SHOWN)
async def redeliver(call: Calling, webhook_id: str, delivery_id: str) -> Response:
    """Send one finished delivery again, with the same webhook-id."""

    async def work(session: WriteSession) -> Effect[Operation]:
        endpoint = await webhooks.hold(session, call.who.tenant_id, webhook_id)
        call.check_if_match(etag(endpoint.edition))
        delivery = await webhooks.redeliver(session, call.who, endpoint, delivery_id)
        operation = await record(session, call.who, "webhook.redeliver", endpoint, deliveries=[delivery.id])
        return Effect(operation, delivery.id)

    return await call.mutate(work, show_delivery(call, webhook_id))


@router.post("/{webhook_id}:redeliver", operation_id="redeliver_range", responses={200: {"model": OperationShown}})
async def redeliver_range(call: Calling, webhook_id: str, body: Redelivery) -> Response:
    """Send the finished deliveries of a range of time again, at most 1,000; the operation's target is the endpoint."""
    since, until = from_rfc3339(body.since), None if body.until is None else from_rfc3339(body.until)

    if until is not None and until < since:
        detail = "'until' is before 'since': no delivery is in that range"
        raise InvalidField(
            detail, fields=[FieldProblem("/until", detail, "write a later time, or leave it out for now")]
        )

    async def work(session: WriteSession) -> Effect[Operation]:
        endpoint = await webhooks.hold(session, call.who.tenant_id, webhook_id)
        call.check_if_match(etag(endpoint.edition))
        ids = await webhooks.finished_between(session, endpoint, since, until, only_failed=body.status == "failed")
        for delivery_id in ids:
            await webhooks.redeliver(session, call.who, endpoint, delivery_id)
        return Effect(await record(session, call.who, "webhook.redeliver", endpoint, deliveries=len(ids)))

    return await call.mutate(work)
