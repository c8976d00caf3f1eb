"""What the fuzzer finds on the platform: a model with a running service, made again when the fuzzer has removed it."""

from pathlib import Path

from cli.client import Platform
from cli.failure import CommandFailed, Exit

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SERVICE = "/api/v1/services/iris"
VERSIONS = "/api/v1/models/iris/versions"
WAIT = {"Prefer": "wait=60"}


def make(platform: Platform) -> None:
    """The model `iris`, version 1, and the service `iris`, running. Raises `CommandFailed`."""
    content = (EXAMPLES / "iris.onnx").read_bytes()
    platform.send("POST", VERSIONS, content, headers={"content-type": "application/octet-stream", **WAIT})
    platform.call("PUT", SERVICE, {"model": "iris"}, headers=WAIT)


def keep(platform: Platform) -> None:
    """The same again, where the fuzzer has deleted or paused it; what just now is being changed is left alone."""
    service = platform.find(SERVICE)
    try:
        if service is None:
            make(platform)
        elif service["status"] == "paused":
            platform.call("POST", f"{SERVICE}:resume")
    except CommandFailed as failed:
        if failed.exit_status is not Exit.CONFLICT:  # the fuzzer was there first: another time
            raise
