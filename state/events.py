"""Events and the webhook deliveries they cause, written in the transaction that changed the status."""

import json
from typing import Any

from sqlalchemy import select

from core.clock import now_micros, rfc3339
from core.ids import new_id
from state.database import WriteSession
from state.documents import prediction_document
from state.history import MACHINE_OF, By, Stateful, begin
from state.tables import Delivery, Event, Model, Operation, Prediction, Service, Version, WebhookEndpoint

# A prediction's own filter keeps Replicate's words (API.md section 5).
REPLICATE_WORD = {"prediction.started": "start"}


async def emit(session: WriteSession, row: Stateful, event_type: str) -> Event:
    """Write the event and one delivery for each endpoint, and each prediction's own webhook, that wants it."""
    resource_type = MACHINE_OF[type(row)].name
    event = Event(
        id=new_id("evt"),
        tenant_id=row.tenant_id,
        created_at=now_micros(),
        type=event_type,
        resource_type=resource_type,
        resource_id=row.id,
        sequence=row.sequence,
        data=_thin(row, resource_type),
    )
    await announce(session, event)
    if isinstance(row, Prediction) and row.webhook and _wants(row, event_type):
        body = json.dumps(prediction_document(row), ensure_ascii=False)
        await send(session, event, body, row.webhook, None)
    return event


async def announce(session: WriteSession, event: Event) -> None:
    """Insert a new event and queue its delivery to each of the tenant's endpoints that wants its type."""
    session.add(event)
    wanting = select(WebhookEndpoint).where(WebhookEndpoint.tenant_id == event.tenant_id, WebhookEndpoint.enabled)
    for endpoint in await session.scalars(wanting):
        if "*" in endpoint.events or event.type in endpoint.events:
            await send(session, event, event_body(event), endpoint.url, endpoint.id)


def event_body(event: Event) -> str:
    """The JSON text that a registered endpoint receives (Standard Webhooks 1.0.0, a thin payload)."""
    body = {"type": event.type, "timestamp": rfc3339(event.created_at), "data": event.data}
    return json.dumps(body, ensure_ascii=False)


async def send(session: WriteSession, event: Event, body: str, url: str, endpoint_id: str | None) -> Delivery:
    """Queue one signed delivery of an event; `body` is exactly what will be signed."""
    delivery = Delivery(
        id=new_id("dlv"),
        tenant_id=event.tenant_id,
        created_at=now_micros(),
        lane="deliver",
        due_at=now_micros(),
        endpoint_id=endpoint_id,
        url=url,
        event_id=event.id,
        event_type=event.type,
        body=body,
        attempts=[],
    )
    await begin(session, delivery, By("system"))
    session.tell("work", "deliver", delivery.id)
    return delivery


def _wants(row: Prediction, event_type: str) -> bool:
    return row.webhook_events is None or REPLICATE_WORD.get(event_type, "completed") in row.webhook_events


def _thin(row: Stateful, resource_type: str) -> dict[str, Any]:
    """What a receiver needs to look the rest up: ids, names, status, a link, the sequence."""
    data: dict[str, Any] = {"id": row.id, "object": resource_type, "status": str(row.status), "sequence": row.sequence}
    if isinstance(row, Model | Service):
        data |= {"name": row.name, "url": f"/api/v1/{resource_type}s/{row.name}"}
    elif isinstance(row, Version):
        data |= {"number": row.number, "model_id": row.model_id}
    elif isinstance(row, Operation):
        data |= {"kind": row.kind, "url": f"/api/v1/operations/{row.id}"}
        data["target"] = {"type": row.target_type, "id": row.target_id, "name": row.target_name}
    elif isinstance(row, Prediction):
        data |= {"service": row.service_name, "url": f"/api/v1/predictions/{row.id}"}
    return data
