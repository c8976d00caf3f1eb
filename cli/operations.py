"""Operations as a client: waited for with a look now and then for whoever watches; listed, shown, canceled, retried."""

import time
from collections.abc import Callable, Mapping
from urllib.parse import quote, urlsplit

from cli.client import Document, Platform, refusal
from cli.failure import CommandFailed, Exit
from cli.output import Columns, Output
from cli.transfer import stage_of
from cli.words import age_in_words, target_in_words
from portside.messages import Answer

OPERATIONS = "/api/v1/operations"
COLUMNS: Columns = {
    "operation": lambda operation: str(operation["id"]),
    "kind": lambda operation: str(operation["kind"]),
    "of": target_in_words,
    "status": lambda operation: str(operation["status"]),
    "stage": lambda operation: _stage(operation),
    "age": lambda operation: age_in_words(operation["created_at"]),
}
LOOK_S = 0.3  # how long one held request lasts where somebody watches what happens meanwhile
HOLD_S = 10.0


def operation_of(platform: Platform, answer: Answer) -> Document:
    """The operation that a mutation started or that it was, whichever way the platform answered."""
    if answer.status == 202:
        return answer.document
    return platform.get(urlsplit(answer.headers["operation-location"]).path)


def wait_for(
    platform: Platform, operation: Document, timeout_s: float, output: Output, look: Callable[[], None] | None = None
) -> Document:
    """The operation once it has succeeded. Raises `CommandFailed` when it ends otherwise, or not in time."""
    deadline = time.monotonic() + timeout_s
    with stage_of(operation, output) as stage:
        while not operation["done"]:
            left = deadline - time.monotonic()
            if left <= 0:
                what = f"{operation['kind']} of {target_in_words(operation)}"
                raise CommandFailed(
                    f"{what} is not done after {timeout_s:g} s; it goes on.",
                    details=[f"next: portside operations wait {operation['id']}"],
                    exit_status=Exit.TIMEOUT,
                )
            held_s = min(left, LOOK_S if look or output.is_watched else HOLD_S)
            operation = platform.get(f"{operation_path(operation['id'])}:wait", timeout=f"{held_s:.2f}")
            stage.show(operation)
            if look is not None:
                look()
    return _succeeded(operation)


def operation_path(operation_id: str) -> str:
    """An operation's resource."""
    return f"{OPERATIONS}/{quote(operation_id, safe='')}"


def list_operations(platform: Platform, filters: Mapping[str, str], limit: int, output: Output) -> None:
    """The newest operations that match."""
    found = platform.items(OPERATIONS, page_size=min(limit + 1, 500), **filters)
    output.rows(output.newest(found, limit), COLUMNS, "No such operations.")


def show_operation(platform: Platform, operation_id: str, output: Output) -> None:
    """One operation. Raises `CommandFailed`."""
    tell_operation(platform.get(operation_path(operation_id)), output)


def tell_operation(operation: Document, output: Output) -> None:
    """How an operation is, and why."""
    error = operation["error"] or {}
    facts = {
        "operation": str(operation["id"]),
        "kind": f"{operation['kind']} of {target_in_words(operation)}",
        "status": str(operation["status"]),
        "stage": _stage(operation),
        "waits for": str(operation.get("waiting_for") or ""),
        "attempts": str(operation["attempt"]),
        "error": str(error.get("detail") or ""),
        "by": str(operation["created_by"]),
        "begun": f"{age_in_words(operation['created_at'])} ago",
        "superseded": str(operation.get("superseded_by") or ""),
    }
    output.sheet(operation, facts)


def await_operation(platform: Platform, operation_id: str, timeout_s: float, output: Output) -> None:
    """Wait for an operation that somebody has started, and show it. Raises `CommandFailed` as it ends."""
    tell_operation(wait_for(platform, platform.get(operation_path(operation_id)), timeout_s, output), output)


def cancel_operation(platform: Platform, operation_id: str, output: Output) -> None:
    """Ask an operation to stop; one that has ended stays as it is. Raises `CommandFailed`."""
    tell_operation(platform.call("POST", f"{operation_path(operation_id)}:cancel").document, output)


def retry_operation(platform: Platform, operation_id: str, output: Output, *, wait_s: float) -> None:
    """Try a failed operation again, and wait for it where `wait_s` is more than zero. Raises `CommandFailed`."""
    operation = operation_of(platform, platform.call("POST", f"{operation_path(operation_id)}:retry"))
    tell_operation(wait_for(platform, operation, wait_s, output) if wait_s else operation, output)


def _stage(operation: Document) -> str:
    progress = operation["progress"]
    if operation["done"] or progress["stage"] == operation["status"]:
        return ""
    return f"{progress['stage']} {progress['percent']:.0f}%" + (f" {progress['detail']}" if progress["detail"] else "")


def _succeeded(operation: Document) -> Document:
    if operation["status"] == "succeeded":
        return operation
    error = operation["error"] or {}
    if operation["status"] == "canceled":
        newer = operation.get("superseded_by")
        why = f"a newer wish took its place ({newer})" if newer else "it was canceled"
        raise CommandFailed(f"{operation['kind']} of {target_in_words(operation)}: {why}.", exit_status=Exit.CONFLICT)
    failed = refusal(int(error.get("status", 500)), error)
    details = [*failed.details, f"operation: {operation['id']}"]
    raise CommandFailed(failed.message, details=details, exit_status=failed.exit_status)
