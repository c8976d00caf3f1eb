"""Signed deliveries to a real receiver, verified with the standard's own package."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from sqlalchemy import select, update
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from core.clock import from_rfc3339, now_micros, to_micros
from core.ids import new_id
from core.secrets import new_webhook_secret
from core.settings import Settings
from state.migrate import DEFAULT_TENANT
from state.queries.webhooks import tenant_secret
from state.tables import Delivery, Event, WebhookEndpoint
from tests.workers.platform import Platform, wait_for
from tests.workers.receiver import Received, open_receiver
from workers.executor import Handler
from workers.handlers.webhooks import deliver, guard

HANDLERS: dict[str, Handler] = {"deliver": deliver}


async def add_endpoint(platform: Platform, url: str, **values: object) -> tuple[WebhookEndpoint, str]:
    """A stored endpoint that wants everything, and its secret."""
    secret, id, now = new_webhook_secret(), new_id("whk"), now_micros()
    sealed = platform.resources.vault.seal(secret, f"webhook:{id}")
    columns = {"url": url, "events": ["*"], "secret_sealed": sealed, "created_at": now, "updated_at": now, **values}
    row = WebhookEndpoint(id=id, tenant_id=DEFAULT_TENANT, **columns)
    async with platform.database.write() as session:
        session.add(row)
    return row, secret


async def endpoint_now(platform: Platform, id: str) -> WebhookEndpoint:
    """The endpoint as it is stored now."""
    async with platform.database.read() as session:
        return (await session.scalars(select(WebhookEndpoint).where(WebhookEndpoint.id == id))).one()


def verify(received: Received, secret: str) -> None:
    """As a receiver does."""
    Webhook(secret).verify(received.body, received.headers, json_parse=False)


async def test_a_delivery_is_signed_as_the_standard_says_and_logged(platform: Platform) -> None:
    await platform.start(HANDLERS)
    async with open_receiver() as receiver:
        endpoint, secret = await add_endpoint(platform, receiver.url)
        row = await platform.delivery(receiver.url, endpoint.id)
        done = await platform.until(row, "delivered")
    (received,) = receiver.received
    verify(received, secret)
    assert received.body == row.body.encode()
    assert (received.headers["webhook-id"], received.headers["content-type"]) == (row.event_id, "application/json")
    assert received.headers["host"] == f"127.0.0.1:{receiver.port}"
    (attempt,) = done.attempts
    assert (attempt["status"], attempt["error"]) == (200, None)
    assert attempt["head"].startswith("HTTP/1.1 200 OK")
    with pytest.raises(WebhookVerificationError):
        verify(received, new_webhook_secret())


async def test_both_secrets_sign_while_the_old_one_is_valid(platform: Platform) -> None:
    await platform.start(HANDLERS)
    old = new_webhook_secret()
    async with open_receiver() as receiver:
        endpoint, new = await add_endpoint(platform, receiver.url)
        until = now_micros() + to_micros(timedelta(hours=1))
        sealed = platform.resources.vault.seal(old, f"webhook:{endpoint.id}")
        await set_endpoint(platform, endpoint.id, old_secret_sealed=sealed, old_secret_until=until)
        await platform.until(await platform.delivery(receiver.url, endpoint.id), "delivered")
        await set_endpoint(platform, endpoint.id, old_secret_until=now_micros() - 1)
        await platform.until(await platform.delivery(receiver.url, endpoint.id), "delivered")
    verify(receiver.received[0], old)
    verify(receiver.received[0], new)
    verify(receiver.received[1], new)
    with pytest.raises(WebhookVerificationError):
        verify(receiver.received[1], old)


async def test_a_predictions_own_webhook_is_signed_with_the_tenants_secret(platform: Platform) -> None:
    await platform.start(HANDLERS)
    async with platform.database.read() as session:
        sealed = await tenant_secret(session, DEFAULT_TENANT)
    assert sealed is not None
    async with open_receiver() as receiver:
        await platform.until(await platform.delivery(receiver.url), "delivered")
    verify(receiver.received[0], platform.resources.vault.open(sealed, f"tenant:{DEFAULT_TENANT}"))


@pytest.mark.parametrize("answer", ["500 Oops", "302 Found", "404 Not Found"])
async def test_any_other_answer_is_tried_again_in_five_seconds(platform: Platform, answer: str) -> None:
    await platform.start(HANDLERS)
    async with open_receiver(answers=[answer], extra_head="location: /elsewhere\r\n") as receiver:
        row = await platform.delivery(receiver.url)
        failed = await platform.until_true(row, lambda found: len(found.attempts) == 1 and found.status == "pending")
    assert len(receiver.received) == 1  # no redirect was followed
    assert failed.attempts[0]["error"] == f"it answered {answer[:3]}"
    after_s = (failed.due_at - from_rfc3339(failed.attempts[0]["at"])) / 1_000_000
    assert 4.99 <= after_s <= 60  # the next pause is of five minutes


async def test_the_id_and_the_body_stay_the_same_in_the_next_attempt(platform: Platform) -> None:
    await platform.start(HANDLERS)
    async with open_receiver(answers=["500 Oops", "204 No Content"]) as receiver:
        row = await first_attempt(platform, receiver.url, None)
        async with platform.database.write() as session:
            await session.execute(update(Delivery).where(Delivery.id == row.id).values(due_at=now_micros()))
            session.tell("work", "deliver", row.id)
        done = await platform.until(row, "delivered")
    first, second = receiver.received
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
    assert [attempt["status"] for attempt in done.attempts] == [500, 204]


@pytest.mark.parametrize("in_seconds", [True, False])
async def test_retry_after_puts_the_next_attempt_off(platform: Platform, in_seconds: bool) -> None:
    await platform.start(HANDLERS)
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=600), usegmt=True)
    head = f"retry-after: {600 if in_seconds else date}\r\n"
    async with open_receiver(answers=["503 Busy"], extra_head=head) as receiver:
        row = await platform.delivery(receiver.url)
        failed = await platform.until_true(row, lambda found: len(found.attempts) == 1 and found.status == "pending")
    assert 580 <= (failed.due_at - now_micros()) / 1_000_000 <= 601


async def test_410_disables_the_endpoint_and_tells_the_others(platform: Platform) -> None:
    await platform.start(HANDLERS)
    async with open_receiver(answers=["410 Gone"]) as gone, open_receiver() as other:
        endpoint, _ = await add_endpoint(platform, gone.url)
        await add_endpoint(platform, other.url)
        row = await platform.delivery(gone.url, endpoint.id)
        await platform.until(row, "failed")
        await wait_for(lambda: bool(other.received))
        after = await platform.until(await platform.delivery(gone.url, endpoint.id), "failed")
    stored = await endpoint_now(platform, endpoint.id)
    assert (stored.enabled, stored.disabled_reason) == (False, "the receiver answered 410 Gone")
    assert b'"webhook.disabled"' in other.received[0].body
    assert (len(gone.received), after.attempts) == (1, [])


async def test_an_endpoint_that_only_fails_for_five_days_is_disabled(platform: Platform) -> None:
    await platform.start(HANDLERS)
    async with open_receiver(answers=["500 Oops", "200 OK", "500 Oops"]) as receiver:
        endpoint, _ = await add_endpoint(platform, receiver.url)
        await first_attempt(platform, receiver.url, endpoint.id)
        assert (await endpoint_now(platform, endpoint.id)).failing_since is not None
        await first_attempt(platform, receiver.url, endpoint.id)
        assert (await endpoint_now(platform, endpoint.id)).failing_since is None
        long_ago = now_micros() - to_micros(timedelta(days=5, seconds=1))
        await set_endpoint(platform, endpoint.id, failing_since=long_ago)
        await first_attempt(platform, receiver.url, endpoint.id)
    stored = await endpoint_now(platform, endpoint.id)
    assert (stored.enabled, stored.disabled_reason) == (False, "every delivery failed for 5 days")
    async with platform.database.read() as session:
        assert (await session.scalars(select(Event.type))).all() == ["webhook.disabled"]


async def test_a_receiver_that_is_not_there_is_tried_again(platform: Platform) -> None:
    await platform.start(HANDLERS)
    async with open_receiver() as receiver:
        url = receiver.url
    failed = await first_attempt(platform, url, None)
    assert failed.status == "pending"
    assert failed.attempts[0]["error"].startswith("cannot connect to 127.0.0.1")


async def test_a_name_is_resolved_once_and_kept_as_the_host(platform: Platform) -> None:
    await platform.start(HANDLERS)
    async with open_receiver() as receiver:
        await platform.until(await platform.delivery(f"http://localhost:{receiver.port}/hook?x=1"), "delivered")
    (received,) = receiver.received
    assert (received.line, received.headers["host"]) == ("POST /hook?x=1 HTTP/1.1", f"localhost:{receiver.port}")


@pytest.mark.parametrize(
    "url",
    ["http://169.254.169.254/latest/meta-data", "http://10.0.0.1/", "http://[::ffff:10.0.0.1]/", "http://0xa000001/"],
)
async def test_a_private_address_is_never_contacted(platform: Platform, url: str) -> None:
    await platform.start(HANDLERS)
    failed = await platform.until(await platform.delivery(url), "failed")
    assert "not on the public internet" in failed.attempts[0]["error"]
    assert failed.attempts[0]["status"] is None


def test_loopback_is_reached_only_while_the_api_is_bound_to_it() -> None:
    def reached(host: str, allow: bool | None) -> str:
        return guard(Settings.model_validate({"host": host, "allow_private_webhooks": allow})).reach

    assert [reached("127.0.0.1", None), reached("::1", None), reached("localhost", None)] == ["loopback"] * 3
    assert [reached("0.0.0.0", None), reached("127.0.0.1", False), reached("10.1.2.3", None)] == ["public"] * 3
    assert reached("0.0.0.0", True) == "all"


async def first_attempt(platform: Platform, url: str, endpoint_id: str | None) -> Delivery:
    """A delivery after its first attempt; the next one is an hour away, and in nobody's way."""
    row = await platform.delivery(url, endpoint_id)
    tried = await platform.until_true(row, lambda found: len(found.attempts) == 1 and found.status != "sending")
    async with platform.database.write() as session:
        later = update(Delivery).where(Delivery.id == row.id, Delivery.status == "pending")
        await session.execute(later.values(due_at=now_micros() + to_micros(timedelta(hours=1))))
    return tried


async def set_endpoint(platform: Platform, id: str, **values: object) -> None:
    """Change an endpoint's row."""
    async with platform.database.write() as session:
        await session.execute(update(WebhookEndpoint).where(WebhookEndpoint.id == id).values(**values))
