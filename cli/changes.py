"""Pausing, resuming, restarting, rolling back and deleting a service."""

import time
from collections.abc import Mapping
from urllib.parse import quote

from cli.client import Platform
from cli.operations import operation_of, wait_for
from cli.output import Output

DONE = {
    "pause": "paused",
    "resume": "running",
    "restart": "running again",
    "rollback": "rolled back",
    "delete": "deleted",
}


def change_service(
    platform: Platform, name: str, verb: str, output: Output, *, wait_s: float, body: Mapping[str, int] | None = None
) -> None:
    """Ask for the change, and wait for it where `wait_s` is more than zero. Raises `CommandFailed`."""
    path = f"/api/v1/services/{quote(name, safe='')}"
    began = time.monotonic()
    answer = platform.call("DELETE", path) if verb == "delete" else platform.call("POST", f"{path}:{verb}", body)
    operation = operation_of(platform, answer)
    if not wait_s:
        output.data(str(operation["id"]))
        return
    wait_for(platform, operation, wait_s, output)
    output.say(f"{name} is {DONE[verb]} ({time.monotonic() - began:.1f} s).")
