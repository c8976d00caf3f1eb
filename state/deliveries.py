"""What a delivery needs of its endpoint, and how an endpoint's health is kept: none of this is a status."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select, update

from core.clock import Micros, now_micros, to_micros
from core.ids import new_id
from state.circuits import close, find_circuit, note_failed, receiver_of
from state.database import Session, WriteSession
from state.events import announce
from state.tables import Delivery, Event, Tenant, WebhookEndpoint

# Standard Webhooks leaves it open; an endpoint that fails this long is not coming back by itself (API.md section 5).
ONLY_FAILURES_FOR = timedelta(days=5)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A secret at rest and the purpose that it opens for."""

    text: str
    purpose: str


@dataclass(frozen=True, slots=True)
class Receiver:
    """Who a delivery is for: the secrets that sign it (during a rotation two), and what is known of its health."""

    secrets: tuple[Sealed, ...]
    enabled: bool
    disabled_reason: str | None
    is_failing: bool


async def receiver(session: Session, delivery: Delivery) -> Receiver | None:
    """The endpoint that a delivery is for, or the prediction's own webhook; None when the endpoint was deleted."""
    circuit = await find_circuit(session, named(delivery))
    if delivery.endpoint_id is None:
        query = select(Tenant.webhook_secret_sealed).where(Tenant.id == delivery.tenant_id)
        sealed = await session.scalar(query)
        own = [] if sealed is None else [Sealed(sealed, f"tenant:{delivery.tenant_id}")]
        return Receiver(tuple(own), enabled=True, disabled_reason=None, is_failing=circuit is not None)
    endpoint = await session.get(WebhookEndpoint, delivery.endpoint_id)
    if endpoint is None:
        return None
    texts = [endpoint.secret_sealed]
    if endpoint.old_secret_sealed is not None and (endpoint.old_secret_until or 0) > now_micros():
        texts.append(endpoint.old_secret_sealed)
    secrets = tuple(Sealed(text, f"webhook:{endpoint.id}") for text in texts)
    is_failing = circuit is not None or endpoint.failing_since is not None
    return Receiver(secrets, endpoint.enabled, endpoint.disabled_reason, is_failing)


def named(delivery: Delivery) -> str:
    """The name of a delivery's receiver, also where a release that knew none wrote the row."""
    return delivery.receiver or receiver_of(delivery.tenant_id, delivery.url, delivery.endpoint_id)


async def note_success(session: WriteSession, delivery: Delivery) -> None:
    """The receiver answers: forget since when it did not, and send what waited for it.

    The endpoint first, as `note_failure` does: the other order could end in a deadlock on PostgreSQL.
    """
    healed = update(WebhookEndpoint).where(WebhookEndpoint.id == delivery.endpoint_id).values(failing_since=None)
    await session.execute(healed.execution_options(synchronize_session=False))
    await close(session, named(delivery))


async def note_failure(session: WriteSession, delivery: Delivery) -> Micros | None:
    """The receiver failed: remember since when, and disable it once it did nothing else for `ONLY_FAILURES_FOR`.

    Answers until when it is left alone, if it is.
    """
    endpoint = None if delivery.endpoint_id is None else await _lock(session, delivery.endpoint_id)
    if endpoint is not None:
        await _judge(session, endpoint, now_micros())
    return await note_failed(session, named(delivery))


async def _judge(session: WriteSession, endpoint: WebhookEndpoint, now: Micros) -> None:
    if endpoint.failing_since is None:
        endpoint.failing_since = now
    elif endpoint.enabled and _is_hopeless(endpoint.failing_since, now):
        await _disable(session, endpoint, f"every delivery failed for {ONLY_FAILURES_FOR.days} days")


async def disable(session: WriteSession, endpoint_id: str, reason: str) -> None:
    """Send nothing more to the endpoint until its owner enables it again; tells `webhook.disabled`."""
    endpoint = await _lock(session, endpoint_id)
    if endpoint is not None and endpoint.enabled:
        await _disable(session, endpoint, reason)


def _is_hopeless(failing_since: Micros, now: Micros) -> bool:
    return now - failing_since >= to_micros(ONLY_FAILURES_FOR)


async def _lock(session: WriteSession, endpoint_id: str) -> WebhookEndpoint | None:
    query = select(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id).with_for_update()
    return (await session.execute(query)).scalar_one_or_none()


async def _disable(session: WriteSession, endpoint: WebhookEndpoint, reason: str) -> None:
    endpoint.enabled, endpoint.disabled_reason = False, reason
    endpoint.edition += 1
    endpoint.updated_at = now_micros()
    await session.flush()
    data = {"id": endpoint.id, "object": "webhook", "url": f"/api/v1/webhooks/{endpoint.id}", "reason": reason}
    event = Event(
        id=new_id("evt"),
        tenant_id=endpoint.tenant_id,
        created_at=endpoint.updated_at,
        type="webhook.disabled",
        resource_type="webhook",
        resource_id=endpoint.id,
        sequence=endpoint.edition,
        data=data,
    )
    await announce(session, event)
