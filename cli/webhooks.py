"""Webhook endpoints: listed, made, tried; their secrets; what was sent to them, and sent again."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from cli.client import Document, Platform
from cli.failure import CommandFailed
from cli.operating import seconds
from cli.output import Columns, Output
from cli.words import age_in_words

WEBHOOKS = "/api/v1/webhooks"
SENT = ("delivered", "failed")
LOOK_S = 0.1
ENDPOINTS: Columns = {
    "webhook": lambda endpoint: str(endpoint["id"]),
    "url": lambda endpoint: str(endpoint["url"]),
    "events": lambda endpoint: ", ".join(endpoint["events"]),
    "is": lambda endpoint: _health(endpoint),
    "age": lambda endpoint: age_in_words(endpoint["created_at"]),
}
DELIVERIES: Columns = {
    "delivery": lambda delivery: str(delivery["id"]),
    "event": lambda delivery: str(delivery["event"]["type"]),
    "status": lambda delivery: str(delivery["status"]),
    "attempts": lambda delivery: str(delivery["attempt"]),
    "why": lambda delivery: str(delivery["message"] or delivery["reason"] or ""),
    "age": lambda delivery: age_in_words(delivery["created_at"]),
}


def list_webhooks(platform: Platform, output: Output) -> None:
    """All endpoints."""
    found = list(platform.items(WEBHOOKS, page_size=500))
    output.rows(found, ENDPOINTS, "No webhooks yet: `portside webhooks create URL` makes one.")


def create_webhook(platform: Platform, wish: Mapping[str, object], output: Output) -> None:
    """Make an endpoint and print it with its secret. Raises `CommandFailed`."""
    _tell_with_secret(platform.call("POST", WEBHOOKS, wish).document, output)


def show_webhook(platform: Platform, webhook_id: str, output: Output) -> None:
    """One endpoint. Raises `CommandFailed`."""
    endpoint = platform.get(webhook_path(webhook_id))
    output.sheet(endpoint, _facts(endpoint))


def delete_webhook(platform: Platform, webhook_id: str, output: Output) -> None:
    """Forget an endpoint. Raises `CommandFailed`."""
    platform.call("DELETE", webhook_path(webhook_id))
    output.say(f"The webhook {webhook_id} is deleted.")


def rotate_secret(platform: Platform, webhook_id: str, output: Output) -> None:
    """Make a new secret and print it. Raises `CommandFailed`."""
    endpoint = platform.call("POST", f"{webhook_path(webhook_id)}:rotate-secret").document
    _tell_with_secret(endpoint, output)
    output.say(f"The old secret signs as well until {endpoint['old_secret_until']}.")


def try_webhook(platform: Platform, webhook_id: str, output: Output, *, wait_s: float) -> None:
    """Send a test event, and wait for its first attempt where `wait_s` is more than zero. Raises `CommandFailed`."""
    delivery = platform.call("POST", f"{webhook_path(webhook_id)}:test").document
    _follow(platform, webhook_id, delivery, output, wait_s)


def list_deliveries(
    platform: Platform, webhook_id: str, filters: Mapping[str, str], limit: int, output: Output
) -> None:
    """What was sent to an endpoint, the newest first. Raises `CommandFailed`."""
    found = platform.items(f"{webhook_path(webhook_id)}/deliveries", page_size=min(limit + 1, 500), **filters)
    output.rows(output.newest(found, limit), DELIVERIES, "Nothing was sent to it yet.")


def redeliver_one(platform: Platform, webhook_id: str, delivery_id: str, output: Output, *, wait_s: float) -> None:
    """Send one delivery again, and wait for it where `wait_s` is more than zero. Raises `CommandFailed`."""
    path = f"{webhook_path(webhook_id)}/deliveries/{quote(delivery_id, safe='')}:redeliver"
    _follow(platform, webhook_id, platform.call("POST", path).document, output, wait_s)


def redeliver_since(platform: Platform, webhook_id: str, since: str, output: Output, *, also_delivered: bool) -> None:
    """Send again what has failed (or everything) for a duration back, or from a time on. Raises `CommandFailed`."""
    start = since if "T" in since else (datetime.now(UTC) - timedelta(seconds=seconds(since, "--since"))).isoformat()
    wish = {"since": start, "status": "all" if also_delivered else "failed"}
    operation = platform.call("POST", f"{webhook_path(webhook_id)}:redeliver", wish).document
    if output.is_for_scripts:
        output.document(operation)
    output.say(f"Sending again: `portside webhooks deliveries {webhook_id}` shows how it goes.")


def webhook_path(webhook_id: str) -> str:
    """An endpoint's resource."""
    return f"{WEBHOOKS}/{quote(webhook_id, safe='')}"


def _follow(platform: Platform, webhook_id: str, delivery: Document, output: Output, wait_s: float) -> None:
    """The delivery once it has been tried. Raises `CommandFailed` when the receiver did not take it."""
    path = f"{webhook_path(webhook_id)}/deliveries/{delivery['id']}"
    before, deadline = len(delivery["attempts"]), time.monotonic() + wait_s
    while time.monotonic() < deadline and delivery["status"] not in SENT and len(delivery["attempts"]) == before:
        time.sleep(LOOK_S)
        delivery = platform.get(path)
    facts = {name: tell(delivery) for name, tell in DELIVERIES.items()}
    output.sheet(delivery, facts)
    if wait_s and delivery["status"] != "delivered":
        raise CommandFailed(
            f"{delivery['url']} has not taken {delivery['id']}: {delivery['message'] or delivery['status']}",
            details=[f"next: portside webhooks deliveries {webhook_id} -o json shows each attempt"],
        )


def _tell_with_secret(endpoint: Document, output: Output) -> None:
    output.sheet(endpoint, {**_facts(endpoint), "secret": str(endpoint["secret"])})
    output.say("Keep the secret: it verifies signatures, and it is not shown again.")


def _facts(endpoint: Document) -> dict[str, str]:
    return {
        "webhook": str(endpoint["id"]),
        "url": str(endpoint["url"]),
        "events": ", ".join(endpoint["events"]),
        "is": _health(endpoint),
        "description": str(endpoint["description"] or ""),
        "made": f"{age_in_words(endpoint['created_at'])} ago",
    }


def _health(endpoint: Document) -> str:
    if not endpoint["enabled"]:
        return f"disabled {endpoint['disabled_reason'] or ''}".strip()
    if endpoint["failures"]:
        return f"failing ({endpoint['failures']} in a row)"
    return "enabled"
