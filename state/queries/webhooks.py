"""Webhook endpoints and their deliveries: rows only, the worker sends.

An endpoint's secrets are sealed for the purpose `webhook:<endpoint id>`, a tenant's for `tenant:<tenant id>`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select

from core.clock import Micros, now_micros, to_micros
from core.errors import NotFound
from core.ids import new_id
from state.advance import advance, lock
from state.circuits import close
from state.database import Session, WriteSession, db_now
from state.events import event_body, send
from state.history import By
from state.operations import Who
from state.queries.lists import Page, View, page
from state.queries.rows import nowhere, owned
from state.tables import Circuit, Delivery, Event, Tenant, WebhookEndpoint

# Both secrets sign for a day, so that receivers can change theirs without missing an event.
ROTATION = timedelta(hours=24)
MOST_REDELIVERED = 1000
Field = str | bool | list[str] | None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What its owner says of a new endpoint."""

    url: str
    events: Sequence[str]
    description: str | None
    enabled: bool


async def add(session: WriteSession, who: Who, endpoint_id: str, wanted: Endpoint, secret: str) -> WebhookEndpoint:
    """Store a new endpoint; `secret` is sealed."""
    now = now_micros()
    row = WebhookEndpoint(
        id=endpoint_id,
        tenant_id=who.tenant_id,
        created_at=now,
        updated_at=now,
        url=wanted.url,
        events=list(wanted.events),
        description=wanted.description,
        enabled=wanted.enabled,
        secret_sealed=secret,
        edition=1,
    )
    session.add(row)
    await session.flush()
    return row


async def find(session: Session, tenant_id: str, endpoint_id: str) -> WebhookEndpoint:
    """The tenant's endpoint. Raises `NotFound`."""
    return await owned(session, WebhookEndpoint, tenant_id, endpoint_id, "webhook")


async def hold(session: WriteSession, tenant_id: str, endpoint_id: str) -> WebhookEndpoint:
    """The same, locked against other writers until the transaction ends."""
    query = select(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id, WebhookEndpoint.tenant_id == tenant_id)
    row = (await session.execute(query.with_for_update())).scalar_one_or_none()
    if row is None:
        raise nowhere("webhook", endpoint_id)
    return row


async def listing(session: Session, tenant_id: str, view: View) -> Page[WebhookEndpoint]:
    """The tenant's endpoints."""
    base = select(WebhookEndpoint).where(WebhookEndpoint.tenant_id == tenant_id)
    return await page(session, base, WebhookEndpoint, view)


async def change(session: WriteSession, endpoint: WebhookEndpoint, changes: dict[str, Field]) -> None:
    """Apply a merge patch to a held endpoint; switching it on forgets why it was off, a new URL that the old failed."""
    for name, value in changes.items():
        setattr(endpoint, name, value)
    if changes.get("enabled"):
        endpoint.disabled_reason = endpoint.failing_since = None
    if changes.get("enabled") or "url" in changes:
        await close(session, endpoint.id)
    _touch(endpoint)


def rotate(endpoint: WebhookEndpoint, secret: str) -> None:
    """Sign with a new secret (sealed), and for a day with the old one as well."""
    endpoint.old_secret_sealed, endpoint.old_secret_until = endpoint.secret_sealed, now_micros() + to_micros(ROTATION)
    endpoint.secret_sealed = secret
    _touch(endpoint)


def _touch(endpoint: WebhookEndpoint) -> None:
    endpoint.edition += 1
    endpoint.updated_at = now_micros()


async def remove(session: WriteSession, endpoint: WebhookEndpoint) -> None:
    """Forget an endpoint; the worker ends what is still to be delivered to it."""
    await close(session, endpoint.id)
    await session.delete(endpoint)


async def deliveries(session: Session, endpoint: WebhookEndpoint, view: View) -> Page[Delivery]:
    """The delivery log of an endpoint."""
    return await page(session, select(Delivery).where(Delivery.endpoint_id == endpoint.id), Delivery, view)


async def circuits_of(session: Session, endpoints: Sequence[WebhookEndpoint]) -> dict[str, Circuit]:
    """What is remembered of those endpoints that failed the last time, by their ids."""
    query = select(Circuit).where(Circuit.receiver.in_([endpoint.id for endpoint in endpoints]))
    return {circuit.receiver: circuit for circuit in await session.scalars(query)}


async def find_delivery(session: Session, tenant_id: str, endpoint_id: str, delivery_id: str) -> Delivery:
    """One delivery to the tenant's endpoint. Raises `NotFound`."""
    row = await owned(session, Delivery, tenant_id, delivery_id, "delivery")
    if row.endpoint_id != endpoint_id:
        raise NotFound(
            f"no delivery to this webhook has the id '{delivery_id[:60]}'; "
            f"GET /api/v1/webhooks/{endpoint_id}/deliveries lists them"
        )
    return row


async def send_test(session: WriteSession, endpoint: WebhookEndpoint) -> Delivery:
    """Queue a delivery of a `webhook.test` event to this endpoint alone."""
    event = Event(
        id=new_id("evt"),
        tenant_id=endpoint.tenant_id,
        created_at=now_micros(),
        type="webhook.test",
        resource_type="webhook",
        resource_id=endpoint.id,
        sequence=endpoint.edition,
        data={"id": endpoint.id, "object": "webhook", "url": f"/api/v1/webhooks/{endpoint.id}"},
    )
    session.append(event)
    return await send(session, event, event_body(event), endpoint.url, endpoint.id, at_once=True)


async def redeliver(session: WriteSession, who: Who, endpoint: WebhookEndpoint, delivery_id: str) -> Delivery:
    """Send a finished delivery again, with the same id. Raises `NotFound`, `IllegalMove` while it is under way."""
    found = await find_delivery(session, endpoint.tenant_id, endpoint.id, delivery_id)
    row = await lock(session, Delivery, found.id)
    # To where the endpoint points now: a wrong URL is the usual reason to send again.
    await advance(
        session,
        row,
        "redeliver",
        By(who.actor),
        url=endpoint.url,
        attempt=0,
        rescues=0,
        due_at=db_now(),
        completed_at=None,
        cancel_requested=False,
        waiting_for=None,
    )
    session.tell("work", row.lane, row.id)
    return row


async def finished_between(
    session: Session, endpoint: WebhookEndpoint, since: Micros, until: Micros | None, only_failed: bool
) -> Sequence[str]:
    """The ids of finished deliveries made in a range of time, oldest first, at most `MOST_REDELIVERED`."""
    statuses = ["failed"] if only_failed else ["failed", "delivered"]
    query = select(Delivery.id).where(
        Delivery.endpoint_id == endpoint.id, Delivery.created_at >= since, Delivery.status.in_(statuses)
    )
    if until is not None:
        query = query.where(Delivery.created_at < until)
    return list(await session.scalars(query.order_by(Delivery.created_at, Delivery.id).limit(MOST_REDELIVERED)))


async def tenant_secret(session: Session, tenant_id: str) -> str | None:
    """The tenant's default secret, sealed."""
    return await session.scalar(select(Tenant.webhook_secret_sealed).where(Tenant.id == tenant_id))
