"""Deliveries: sign by Standard Webhooks 1.0.0, send, keep a log, back off; the executor counts the attempts."""

import logging
import random
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from standardwebhooks import Webhook

from core.clock import Micros, now_micros, rfc3339
from core.errors import DatabaseBusy, PlatformError
from core.failpoints import failpoint
from core.settings import Settings
from state import claims
from state.circuits import WAITING, let_go, put_off
from state.database import Database
from state.deliveries import Receiver, disable, named, note_failure, note_success, receiver
from state.tables import Delivery
from workers.addresses import AddressRefused, Guard
from workers.calling import retry_after
from workers.outcomes import Done, Failed, Outcome, Retry
from workers.resources import Held, Resources
from workers.sending import SendingFailed, send

log = logging.getLogger(__name__)

# API.md section 5: the pauses after the first, the second, … attempt.
PAUSES = (
    *(timedelta(seconds=5), timedelta(minutes=5), timedelta(minutes=30)),
    *(timedelta(hours=hours) for hours in (2, 5, 10, 14, 20, 24)),
)
JITTER = 0.2
LONGEST_PAUSE = timedelta(hours=24)
MOST_MOVES = 20  # transactions of 500 rows each; the next attempt moves more


class NotDelivered(PlatformError):
    """This delivery cannot arrive, however often it is tried."""

    code, title = "not_delivered", "The webhook cannot be delivered"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One entry of a delivery's log."""

    at: int
    status: int | None = None
    head: str | None = None
    error: str | None = None
    duration_ms: int = 0
    retry_after: timedelta | None = None


async def deliver(held: Held, resources: Resources) -> Outcome:
    """Send the stored body once; what becomes of the endpoint is noted beside the outcome."""
    row = held.row
    assert isinstance(row, Delivery)
    async with resources.database.read() as session:
        to = await receiver(session, row)
    if to is None or not to.enabled:
        why = "it was deleted" if to is None else f"it is disabled: {to.disabled_reason or 'by its owner'}"
        return Failed(NotDelivered(f"nothing is sent to the endpoint any more; {why}").as_problem())
    held.check()
    try:
        attempt = await _attempt(row, to, resources)
    except AddressRefused as refusal:
        refused = Attempt(now_micros(), error=str(refusal))
        await _note(held, row, to, refused, resources)
        return Failed(NotDelivered(str(refusal)).as_problem(), row={"attempts": _log(row, refused)})
    failpoint("webhook_before_record")
    left_alone_until = await _note(held, row, to, attempt, resources)
    left_alone = timedelta(microseconds=max(0, (left_alone_until or 0) - held.clock.now))
    return _outcome(row, attempt, held.claim.attempt, left_alone)


def guard(settings: Settings) -> Guard:
    """What webhooks may reach."""
    return Guard.of(settings.allow_private_webhooks, settings.host, "PORTSIDE_ALLOW_PRIVATE_WEBHOOKS")


async def _attempt(row: Delivery, to: Receiver, resources: Resources) -> Attempt:
    began, at = time.monotonic(), now_micros()
    secrets = [resources.vault.open(sealed.text, sealed.purpose) for sealed in to.secrets]
    try:
        answer = await send(row.url, row.body.encode(), signed_headers(row, secrets), guard(resources.settings))
    except SendingFailed as failure:
        return Attempt(at, error=str(failure), duration_ms=_since_ms(began))
    seen = Attempt(
        at,
        answer.status,
        answer.head,
        duration_ms=_since_ms(began),
        retry_after=retry_after(answer.retry_after, LONGEST_PAUSE),
    )
    return seen if 200 <= answer.status < 300 else replace(seen, error=f"it answered {answer.status}")


def signed_headers(row: Delivery, secrets: list[str]) -> dict[str, str]:
    """The headers of an attempt made now: a signature with each secret over `id.timestamp.body`."""
    # Aware and in UTC: the package signs the digits of a local time as if they were UTC.
    now = datetime.now(UTC)
    signatures = [Webhook(secret).sign(row.event_id, now, row.body) for secret in secrets]
    return {
        "content-type": "application/json",
        "user-agent": "portside",
        "webhook-id": row.event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


async def _note(held: Held, row: Delivery, to: Receiver, attempt: Attempt, resources: Resources) -> Micros | None:
    """Keep the receiver's health; a success that follows a success has nothing to write.

    Answers until when the receiver is left alone, if it is. Raises `ClaimLost`.
    """
    if attempt.error is None and not to.is_failing:
        return None
    left_alone_until = None
    try:
        async with resources.database.write() as session:
            await claims.held(session, held.claim)
            if attempt.error is None:
                await note_success(session, row)
            elif attempt.status != 410:
                left_alone_until = await note_failure(session, row)
            elif row.endpoint_id is not None:
                await disable(session, row.endpoint_id, "the receiver answered 410 Gone")
        if attempt.error is None or left_alone_until is not None:
            await _move_the_others(resources.database, named(row), left_alone_until)
    except DatabaseBusy as error:  # the attempt was made: what came of it is not forgotten for that
        log.warning("the health of %s is not noted: %s", named(row), error.message)
    return left_alone_until


async def _move_the_others(database: Database, receiver: str, left_alone_until: Micros | None) -> None:
    """What waits for the receiver goes out, or waits on: in small transactions, and not for long."""
    for _ in range(MOST_MOVES):
        async with database.write() as session:
            if left_alone_until is None:
                is_more = await let_go(session, receiver)
            else:
                is_more = await put_off(session, receiver, left_alone_until)
        if not is_more:
            break


def _outcome(row: Delivery, attempt: Attempt, number: int, left_alone: timedelta) -> Outcome:
    log: dict[str, object] = {"attempts": _log(row, attempt)}
    if attempt.error is None:
        return Done(row=log)
    if attempt.status == 410:
        return Failed(NotDelivered("the receiver answered 410 Gone").as_problem(), row=log)
    pause = PAUSES[min(number, len(PAUSES)) - 1] * random.uniform(1.0, 1.0 + JITTER)  # noqa: S311  jitter, no secret
    after = max(pause, attempt.retry_after or pause)
    if left_alone > after:  # it waits with the others, and goes with them as soon as the receiver answers one
        return Retry(attempt.error, after=left_alone, row={**log, "waiting_for": WAITING})
    return Retry(attempt.error, after=after, row=log)


def _log(row: Delivery, attempt: Attempt) -> list[dict[str, object]]:
    entry: dict[str, object] = {
        "at": rfc3339(attempt.at),
        "status": attempt.status,
        "head": attempt.head,
        "error": attempt.error,
        "duration_ms": attempt.duration_ms,
    }
    return [*row.attempts, entry]


def _since_ms(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
