"""What happened to a service, what it was, and how many replicas it has."""

import time
from urllib.parse import quote

from cli.client import Document, Platform
from cli.operations import operation_of, wait_for
from cli.output import Columns, Output
from cli.words import age_in_words, seconds_in_words

CHANGES: Columns = {
    "ago": lambda change: age_in_words(change["at"]),
    "change": lambda change: f"{change['from']} → {change['to']}" if change["from"] else str(change["to"]),
    "by": lambda change: str(change["actor"]),
    "why": lambda change: str(change.get("message") or change.get("reason") or ""),
    "operation": lambda change: str(change.get("operation") or ""),
}
REVISIONS: Columns = {
    "revision": lambda revision: str(revision["number"]),
    "model": lambda revision: f"{revision['model']}@{revision['version']}",
    "resources": lambda revision: _resources(revision),
    "env": lambda revision: ", ".join(revision["env_names"]),
    "age": lambda revision: age_in_words(revision["created_at"]),
}


def service_path(name: str) -> str:
    """A service's resource."""
    return f"/api/v1/services/{quote(name, safe='')}"


def show_history(platform: Platform, name: str, limit: int, output: Output) -> None:
    """Each change of a service's status, the newest first. Raises `CommandFailed`."""
    found = platform.items(f"{service_path(name)}/history", page_size=min(limit + 1, 500))
    output.rows(output.newest(found, limit), CHANGES, "Nothing has happened yet.")


def show_revisions(platform: Platform, name: str, limit: int, output: Output) -> None:
    """All that was ever deployed as a service, the newest first. Raises `CommandFailed`."""
    found = platform.items(f"{service_path(name)}/revisions", page_size=min(limit + 1, 500))
    output.rows(output.newest(found, limit), REVISIONS, "Nothing was deployed yet.")


def scale_service(platform: Platform, name: str, replicas: int, output: Output, *, wait_s: float) -> None:
    """Give a service so many replicas, and wait for them where `wait_s` is more than zero. Raises `CommandFailed`."""
    service = platform.get(service_path(name))
    if service["replicas"] == replicas:
        output.say(f"No change: {name} has {replicas} replica(s) already.")
        return
    began = time.monotonic()
    operation = operation_of(platform, platform.call("PATCH", service_path(name), {"replicas": replicas}))
    if not wait_s:
        output.data(str(operation["id"]))
        return
    wait_for(platform, operation, wait_s, output)
    took = seconds_in_words(time.monotonic() - began)
    output.say(f"{name} has {replicas} replica(s) instead of {service['replicas']} ({took}).")


def _resources(revision: Document) -> str:
    resources = revision["resources"]
    memory = f", {resources['memory']}" if resources["memory"] else ""
    return f"{resources['cpu']:g} cpu{memory}"
