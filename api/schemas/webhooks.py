"""Webhook endpoints and deliveries: what a request may say and how rows are shown (API.md section 5)."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from api.headers import etag
from api.nearest import hint
from api.schemas.base import URL, Answer, Body, Instant, at_most, one_of, shown_as, told
from core.clock import from_rfc3339, rfc3339
from core.errors import Json
from state.documents import instant
from state.queries.events import event_types
from state.tables import Circuit, Delivery, WebhookEndpoint


def check_events(types: list[str]) -> list[str]:
    """Known event types, or `*` for all; raises a validation error with the nearest name."""
    known = event_types()
    for name in types:
        if name != "*" and name not in known:
            raise PydanticCustomError(
                "event", "there is no event '{name}'; {hint}", {"name": name[:100], "hint": hint(name, known)}
            )
    return list(dict.fromkeys(types))


def check_time(text: str) -> str:
    """An RFC 3339 time with an offset."""
    try:
        rfc3339(from_rfc3339(text))  # 9999-12-31T23:59:59-01:00 has no year in UTC
    except (ValueError, OverflowError) as error:
        raise PydanticCustomError("time", "an RFC 3339 time such as 2026-01-31T12:00:00Z") from error
    return text


Url = Annotated[str, Field(min_length=1, max_length=2000)]
EventTypes = Annotated[
    list[Annotated[str, told(pattern=one_of("*", *sorted(event_types())))]],
    at_most(100, "at most 100 event types"),
    Field(min_length=1, max_length=100),
    AfterValidator(check_events),
]
Text = Annotated[str, Field(max_length=10_000)]
Time = Annotated[Instant, AfterValidator(check_time)]


def _without_default(schema: dict[str, Any]) -> None:
    """What stands for an absent field here is no value that a client could send."""
    schema.pop("default", None)
    schema["pattern"] = URL


class WebhookCreate(Body):
    """A new endpoint; without `events` it gets all of them."""

    model_config = shown_as(
        {"url": "https://example.com/hook", "events": ["service.degraded", "service.failed"], "description": "Pager"}
    )

    url: Annotated[Url, told(pattern=URL)]
    events: EventTypes = Field(default_factory=lambda: ["*"])
    description: Text | None = None
    enabled: bool = True


class WebhookPatch(Body):
    """A merge patch (RFC 7396); null removes the description and gives `events` and `enabled` their defaults back."""

    model_config = shown_as({"enabled": False}, {"events": ["prediction.failed"], "description": None})

    url: Annotated[Url, Field(json_schema_extra=_without_default)] = ""  # absent: unchanged
    events: EventTypes | None = None
    description: Text | None = None
    enabled: bool | None = None


class Redelivery(Body):
    """Which finished deliveries are sent again: those made since (and until) a time, the failed ones or all."""

    model_config = shown_as({"since": "2026-01-31T12:00:00Z", "until": "2026-01-31T14:30:00Z", "status": "all"})

    since: Time
    until: Time | None = None
    status: Literal["failed", "all"] = "failed"


class WebhookShown(Answer):
    """An endpoint. `secret` is there only in the answer that made it."""

    id: str
    url: str
    description: str | None
    events: list[str]
    enabled: bool
    disabled_reason: str | None
    failing_since: Instant | None
    failures: int = Field(description="How many attempts in a row have failed; 0 when the last one did not.")
    paused_until: Instant | None = Field(
        description="Nothing is sent before, because it failed several times in a row."
    )
    old_secret_until: Instant | None
    etag: str
    generation: int
    created_at: Instant
    updated_at: Instant
    secret: str | None = None


class WebhookPage(Answer):
    """One page of endpoints."""

    items: list[WebhookShown]
    next_page_token: str | None
    total: int | None = None


class SecretShown(Answer):
    """A secret that can be read back."""

    key: str


class DeliveryShown(Answer):
    """One event on its way to one endpoint, with each attempt's answer."""

    id: str
    webhook: str | None
    url: str
    event: dict[str, str]
    status: Literal["pending", "sending", "delivered", "failed"]
    reason: str | None
    message: str | None
    attempt: int
    attempts: list[dict[str, Any]]
    body: str
    created_at: Instant
    due_at: Instant | None
    waiting_for: str | None
    completed_at: Instant | None


class DeliveryPage(Answer):
    """One page of deliveries."""

    items: list[DeliveryShown]
    next_page_token: str | None
    total: int | None = None


def webhook_document(
    row: WebhookEndpoint, circuit: Circuit | None = None, secret: str | None = None
) -> dict[str, Json]:
    """The endpoint object, with its secret in the answer that made it."""
    shown: dict[str, Json] = {
        "id": row.id,
        "url": row.url,
        "description": row.description,
        "events": row.events,
        "enabled": row.enabled,
        "disabled_reason": row.disabled_reason,
        "failing_since": instant(row.failing_since),
        "failures": circuit.failures if circuit else 0,
        "paused_until": instant(circuit.open_until) if circuit else None,
        "old_secret_until": instant(row.old_secret_until),
        "etag": etag(row.edition),
        "generation": row.edition,
        "created_at": instant(row.created_at),
        "updated_at": instant(row.updated_at),
    }
    return shown if secret is None else {**shown, "secret": secret}


def delivery_document(row: Delivery) -> dict[str, Json]:
    """The delivery object; `due_at` is when the next attempt is made."""
    return {
        "id": row.id,
        "webhook": row.endpoint_id,
        "url": row.url,
        "event": {"id": row.event_id, "type": row.event_type},
        "status": str(row.status),
        "reason": row.reason,
        "message": row.message,
        "attempt": row.attempt,
        "attempts": row.attempts,
        "body": row.body,
        "created_at": instant(row.created_at),
        "due_at": instant(row.due_at) if row.status == "pending" else None,
        "waiting_for": row.waiting_for if row.status == "pending" else None,
        "completed_at": instant(row.completed_at),
    }
