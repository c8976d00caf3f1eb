"""Waiting for operations as a client: until done, with a look now and then for whoever watches."""

import time
from collections.abc import Callable
from urllib.parse import quote, urlsplit

from cli.client import Answer, Document, Platform, refusal
from cli.failure import CommandFailed, Exit

LOOK_S = 0.3  # how long one held request lasts where somebody watches what happens meanwhile
HOLD_S = 10.0


def operation_of(platform: Platform, answer: Answer) -> Document:
    """The operation that a mutation started or that it was, whichever way the platform answered."""
    if answer.status == 202:
        return answer.document
    return platform.get(urlsplit(answer.headers["operation-location"]).path)


def wait_for(
    platform: Platform, operation: Document, timeout_s: float, look: Callable[[], None] | None = None
) -> Document:
    """The operation once it has succeeded. Raises `CommandFailed` when it ends otherwise, or not in time."""
    deadline = time.monotonic() + timeout_s
    while not operation["done"]:
        left = deadline - time.monotonic()
        if left <= 0:
            raise CommandFailed(
                f"{operation['kind']} of {operation['target']['name']} is not done after {timeout_s:g} s; it goes on.",
                details=[f"operation: {operation['id']}"],
                exit_status=Exit.TIMEOUT,
            )
        held_s = min(left, LOOK_S if look else HOLD_S)
        operation = platform.get(f"/api/v1/operations/{quote(operation['id'])}:wait", timeout=f"{held_s:.2f}")
        if look is not None:
            look()
    return _succeeded(operation)


def _succeeded(operation: Document) -> Document:
    if operation["status"] == "succeeded":
        return operation
    error = operation["error"] or {}
    if operation["status"] == "canceled":
        newer = operation.get("superseded_by")
        why = f"a newer wish took its place ({newer})" if newer else "it was canceled"
        raise CommandFailed(f"{operation['kind']} of {operation['target']['name']}: {why}.", exit_status=Exit.CONFLICT)
    failed = refusal(int(error.get("status", 500)), error)
    details = [*failed.details, f"operation: {operation['id']}"]
    raise CommandFailed(failed.message, details=details, exit_status=failed.exit_status)
