"""Webhook endpoints: create, read, change, delete, rotate the secret, send a test."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from starlette.responses import JSONResponse

from api.addresses import check_webhook_url
from api.dependencies import ContextOf, Reading, WhoAsks, require_admin
from api.headers import etag
from api.mutations import Call, Calling, Effect, Show, Shown, answer
from api.pages import Listing, listed
from api.routing import PlatformRoute
from api.schemas.webhooks import (
    DeliveryShown,
    SecretShown,
    WebhookCreate,
    WebhookPage,
    WebhookPatch,
    WebhookShown,
    delivery_document,
    webhook_document,
)
from core.errors import NotFound
from core.ids import new_id
from core.secrets import new_webhook_secret
from state.database import ReadSession, WriteSession
from state.operations import record
from state.queries import webhooks
from state.queries.lists import View
from state.tables import Operation

router = APIRouter(prefix="/api/v1/webhooks", tags=["webhooks"], route_class=PlatformRoute)
LIST = Listing({"url": "text", "enabled": "flag", "created_at": "time"})
SHOWN = {"model": WebhookShown}


@router.get("", operation_id="list_webhooks", openapi_extra=LIST.parameters, responses={200: {"model": WebhookPage}})
async def list_webhooks(
    request: Request, session: Reading, who: WhoAsks, view: Annotated[View, Depends(LIST)]
) -> Response:
    """The tenant's webhook endpoints."""
    found = await webhooks.listing(session, who.tenant_id, view)
    circuits = await webhooks.circuits_of(session, found.rows)
    return listed(request, found, [webhook_document(row, circuits.get(row.id)) for row in found.rows])


@router.post("", operation_id="create_webhook", status_code=201, responses={201: SHOWN})
async def create_webhook(call: Calling, body: WebhookCreate) -> Response:
    """A new endpoint. The answer is the only one that shows its signing secret."""
    check_webhook_url(body.url, call.context.settings, "/url")
    wanted = webhooks.Endpoint(body.url, body.events, body.description, body.enabled)

    async def work(session: WriteSession) -> Effect[Operation]:
        webhook_id = new_id("whk")
        sealed = call.context.vault.seal(new_webhook_secret(), purpose(webhook_id))
        row = await webhooks.add(session, call.who, webhook_id, wanted, sealed)
        return Effect(await record(session, call.who, "webhook.create", row), row.id)

    return await call.mutate(work, _show(call, status=201, with_secret=True))


@router.get("/default/secret", operation_id="get_default_webhook_secret", responses={200: {"model": SecretShown}})
async def get_default_webhook_secret(context: ContextOf, session: Reading, who: WhoAsks) -> Response:
    """The secret that signs predictions' own webhooks; admins only (the one secret that can be read back)."""
    require_admin(who)
    sealed = await webhooks.tenant_secret(session, who.tenant_id)
    if sealed is None:
        raise NotFound("this tenant has no default webhook secret")
    return JSONResponse({"key": context.vault.open(sealed, f"tenant:{who.tenant_id}")})


@router.get("/{webhook_id}", operation_id="get_webhook", responses={200: SHOWN})
async def get_webhook(session: Reading, who: WhoAsks, webhook_id: str) -> Response:
    """One endpoint, without its secret."""
    row = await webhooks.find(session, who.tenant_id, webhook_id)
    circuits = await webhooks.circuits_of(session, [row])
    # No 304: how its deliveries fare changes without another edition of the endpoint.
    return answer(Shown(webhook_document(row, circuits.get(row.id)), etag=etag(row.edition)))


@router.patch("/{webhook_id}", operation_id="update_webhook", responses={200: SHOWN})
async def update_webhook(call: Calling, webhook_id: str, body: WebhookPatch) -> Response:
    """Change an endpoint (merge patch); deliveries that wait go where it pointed when they were made."""
    if "url" in body.model_fields_set:
        check_webhook_url(body.url, call.context.settings, "/url")
    changes: dict[str, webhooks.Field] = {name: getattr(body, name) for name in body.model_fields_set}
    changes |= {name: default for name, default in _defaults().items() if name in changes and changes[name] is None}

    async def work(session: WriteSession) -> Effect[Operation]:
        row = await webhooks.hold(session, call.who.tenant_id, webhook_id)
        call.check_if_match(etag(row.edition))
        await webhooks.change(session, row, changes)
        return Effect(await record(session, call.who, "webhook.update", row), row.id)

    return await call.mutate(work, _show(call))


@router.delete("/{webhook_id}", operation_id="delete_webhook", status_code=204)
async def delete_webhook(call: Calling, webhook_id: str) -> Response:
    """Forget an endpoint; what was still to be delivered to it is not sent."""

    async def work(session: WriteSession) -> Effect[Operation]:
        row = await webhooks.hold(session, call.who.tenant_id, webhook_id)
        call.check_if_match(etag(row.edition))
        operation = await record(session, call.who, "webhook.delete", row)
        await webhooks.remove(session, row)
        return Effect(operation, row.id)

    async def show(session: ReadSession, resource_id: str) -> Shown:
        return Shown(None)

    return await call.mutate(work, show)


@router.post("/{webhook_id}:rotate-secret", operation_id="rotate_webhook_secret", responses={200: SHOWN})
async def rotate_webhook_secret(call: Calling, webhook_id: str) -> Response:
    """A new secret, shown in this answer alone; for a day deliveries are signed with the old one as well."""

    async def work(session: WriteSession) -> Effect[Operation]:
        row = await webhooks.hold(session, call.who.tenant_id, webhook_id)
        call.check_if_match(etag(row.edition))
        webhooks.rotate(row, call.context.vault.seal(new_webhook_secret(), purpose(row.id)))
        return Effect(await record(session, call.who, "webhook.rotate_secret", row), row.id)

    return await call.mutate(work, _show(call, with_secret=True))


@router.post(
    "/{webhook_id}:test", operation_id="test_webhook", status_code=201, responses={201: {"model": DeliveryShown}}
)
async def test_webhook(call: Calling, webhook_id: str) -> Response:
    """Send a `webhook.test` event to this endpoint; the answer is the delivery to watch."""

    async def work(session: WriteSession) -> Effect[Operation]:
        row = await webhooks.hold(session, call.who.tenant_id, webhook_id)
        call.check_if_match(etag(row.edition))
        delivery = await webhooks.send_test(session, row)
        return Effect(await record(session, call.who, "webhook.test", row), delivery.id)

    return await call.mutate(work, show_delivery(call, webhook_id, status=201))


def purpose(webhook_id: str) -> str:
    """What an endpoint's sealed secrets are bound to."""
    return f"webhook:{webhook_id}"


def show_delivery(call: Call, webhook_id: str, status: int = 200) -> Show:
    """How a delivery is shown after a mutation."""

    async def show(session: ReadSession, delivery_id: str) -> Shown:
        row = await webhooks.find_delivery(session, call.who.tenant_id, webhook_id, delivery_id)
        where = call.links.to(f"/api/v1/webhooks/{webhook_id}/deliveries/{row.id}")
        return Shown(delivery_document(row), status, where if status == 201 else None)

    return show


def _show(call: Call, *, status: int = 200, with_secret: bool = False) -> Show:
    async def show(session: ReadSession, webhook_id: str) -> Shown:
        row = await webhooks.find(session, call.who.tenant_id, webhook_id)
        secret = call.context.vault.open(row.secret_sealed, purpose(row.id)) if with_secret else None
        circuits = await webhooks.circuits_of(session, [row])
        where = call.links.to(f"/api/v1/webhooks/{row.id}") if status == 201 else None
        return Shown(webhook_document(row, circuits.get(row.id), secret), status, where, etag(row.edition))

    return show


def _defaults() -> dict[str, webhooks.Field]:
    return {"events": ["*"], "enabled": True}
