"""Events and the webhook deliveries they cause, written in the transaction that changed the status."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import select

from core.clock import Micros, now_micros, rfc3339
from core.ids import new_id
from core.logs import current_request_id, log_context
from state.circuits import WAITING, opens_at, receiver_of
from state.compiled import Query, among, compiled, listed
from state.database import WriteSession, db_now
from state.datatables import Dataset
from state.direct import DirectSession, Writer, every_column
from state.documents import prediction_document
from state.history import MACHINE_OF, By, Stateful, begin
from state.jobtables import Job, Run
from state.tables import Circuit, Delivery, Event, Model, Operation, Prediction, Service, Version, WebhookEndpoint

# A prediction's own filter keeps Replicate's words (API.md section 5).
REPLICATE_WORD = {"prediction.started": "start"}


async def emit(session: Writer, row: Stateful, event_type: str) -> Event:
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
    own = None
    if isinstance(row, Prediction) and row.webhook and _wants(row, event_type):
        own = _OwnWebhook(row.webhook, json.dumps(prediction_document(row), ensure_ascii=False))
    # The deliveries belong to the request that the row came from, whoever moves it now.
    request_id = row.request_id if isinstance(row, Prediction | Operation) else current_request_id()
    if isinstance(session, DirectSession):
        session.append(event)
        session.at_end(_Announcements).told.append(_Told(event, own, request_id))
        return event
    with log_context(request_id=request_id):
        await announce(session, event)
        if own is not None:
            await send(session, event, own.body, own.url, None)
    return event


@dataclass(frozen=True, slots=True)
class _OwnWebhook:
    """What a prediction's own webhook is told."""

    url: str
    body: str


@dataclass(frozen=True, slots=True)
class _Told:
    """An event that is to be announced, and the request that it follows from."""

    event: Event
    own: _OwnWebhook | None
    request_id: str | None

    def deliveries(self, endpoints: Sequence[WebhookEndpoint]) -> Iterator[Delivery]:
        """One for each endpoint that wants it, and the prediction's own."""
        for endpoint in endpoints:
            if _is_wanted(endpoint, self.event):
                yield _delivery(self.event, event_body(self.event), endpoint.url, endpoint.id)
        if self.own is not None:
            yield _delivery(self.event, self.own.body, self.own.url, None)


class _Announcements:
    """All events of one direct transaction, announced with two questions however many there are."""

    def __init__(self) -> None:
        self.told: list[_Told] = []

    async def __call__(self, session: DirectSession) -> None:
        tenants = listed({each.event.tenant_id for each in self.told}, session.dialect)
        endpoints: dict[str, list[WebhookEndpoint]] = {}
        for endpoint in await session.rows(WebhookEndpoint, _endpoints(session.dialect), tenants=tenants):
            endpoints.setdefault(endpoint.tenant_id, []).append(endpoint)
        pairs = [(each, list(each.deliveries(endpoints.get(each.event.tenant_id, ())))) for each in self.told]
        receivers = {str(delivery.receiver) for _, deliveries in pairs for delivery in deliveries}
        if not receivers:
            return
        found = await session.fetch(_circuits(session.dialect), receivers=listed(receivers, session.dialect))
        left_alone = {str(receiver): int(str(until)) for receiver, until in found}
        for told, deliveries in pairs:
            with log_context(request_id=told.request_id):
                for delivery in deliveries:
                    await _queue(session, delivery, left_alone.get(str(delivery.receiver)))


@cache
def _endpoints(dialect: str) -> Query:
    columns = WebhookEndpoint.__table__.c
    query = every_column(WebhookEndpoint).where(among(columns.tenant_id, "tenants", dialect), columns.enabled)
    return compiled(query, dialect)


@cache
def _circuits(dialect: str) -> Query:
    columns = Circuit.__table__.c
    query = select(columns.receiver, columns.open_until)
    return compiled(query.where(among(columns.receiver, "receivers", dialect), columns.open_until > db_now()), dialect)


async def announce(session: WriteSession, event: Event) -> None:
    """Insert a new event and queue its delivery to each of the tenant's endpoints that wants its type."""
    session.append(event)
    wanting = select(WebhookEndpoint).where(WebhookEndpoint.tenant_id == event.tenant_id, WebhookEndpoint.enabled)
    for endpoint in await session.scalars(wanting):
        if _is_wanted(endpoint, event):
            await send(session, event, event_body(event), endpoint.url, endpoint.id)


def _is_wanted(endpoint: WebhookEndpoint, event: Event) -> bool:
    return "*" in endpoint.events or event.type in endpoint.events


def event_body(event: Event) -> str:
    """The JSON text that a registered endpoint receives (Standard Webhooks 1.0.0, a thin payload)."""
    body = {"type": event.type, "timestamp": rfc3339(event.created_at), "data": event.data}
    return json.dumps(body, ensure_ascii=False)


async def send(
    session: WriteSession, event: Event, body: str, url: str, endpoint_id: str | None, *, at_once: bool = False
) -> Delivery:
    """Queue one signed delivery of an event; `body` is exactly what will be signed.

    It waits with the others while its receiver is left alone, unless it is to go `at_once`.
    """
    delivery = _delivery(event, body, url, endpoint_id)
    await _queue(session, delivery, None if at_once else await opens_at(session, str(delivery.receiver)))
    return delivery


def _delivery(event: Event, body: str, url: str, endpoint_id: str | None) -> Delivery:
    return Delivery(
        id=new_id("dlv"),
        tenant_id=event.tenant_id,
        created_at=now_micros(),
        lane="deliver",
        endpoint_id=endpoint_id,
        receiver=receiver_of(event.tenant_id, url, endpoint_id),
        url=url,
        event_id=event.id,
        event_type=event.type,
        body=body,
        attempts=[],
    )


async def _queue(session: Writer, delivery: Delivery, left_alone_until: Micros | None) -> None:
    if left_alone_until is not None:
        delivery.due_at, delivery.waiting_for = left_alone_until, WAITING
    await begin(session, delivery, By("system"))
    session.tell("work" if left_alone_until is None else "later", "deliver", delivery.id)


def _wants(row: Prediction, event_type: str) -> bool:
    return row.webhook_events is None or REPLICATE_WORD.get(event_type, "completed") in row.webhook_events


def _thin(row: Stateful, resource_type: str) -> dict[str, Any]:
    """What a receiver needs to look the rest up: ids, names, status, a link, the sequence."""
    data: dict[str, Any] = {"id": row.id, "object": resource_type, "status": str(row.status), "sequence": row.sequence}
    if isinstance(row, Model | Service | Dataset | Job):
        data |= {"name": row.name, "url": f"/api/v1/{resource_type}s/{row.name}"}
    elif isinstance(row, Run):
        data |= {"number": row.number, "job": row.job_name, "trigger": row.trigger}
        data["url"] = f"/api/v1/jobs/{row.job_name}/runs/{row.number}"
    elif isinstance(row, Version):
        data |= {"number": row.number, "model_id": row.model_id}
    elif isinstance(row, Operation):
        data |= {"kind": row.kind, "url": f"/api/v1/operations/{row.id}"}
        data["target"] = {"type": row.target_type, "id": row.target_id, "name": row.target_name}
    elif isinstance(row, Prediction):
        data |= {"service": row.service_name, "url": f"/api/v1/predictions/{row.id}"}
    return data
