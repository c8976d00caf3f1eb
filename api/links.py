"""Absolute URLs: what the client called us, or `PORTSIDE_PUBLIC_URL`."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import Request

from core.settings import Settings
from state.tables import Operation


@dataclass(frozen=True, slots=True)
class Links:
    """Makes absolute URLs under one base, which has no slash at its end."""

    base: str

    def to(self, path: str) -> str:
        """The absolute URL of a path that begins with a slash."""
        return self.base + path

    def at_port(self, port: int) -> str:
        """The root of another port of the same host."""
        host = urlsplit(self.base).hostname or "localhost"
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def operation(self, operation_id: str) -> str:
        """Where an operation is polled."""
        return f"{self.base}/api/v1/operations/{operation_id}"


def links_for(request: Request, settings: Settings) -> Links:
    """The links of one request; the server has put trusted forwarded headers into its scope."""
    return Links((settings.public_url or str(request.base_url)).rstrip("/"))


def target_path(operation: Operation) -> str | None:
    """The path of what an operation works on, where that can be told from the row.

    Operations on versions carry `model`, the model's name, among their arguments, those on runs `job` and `number`.
    """
    kind, name = operation.target_type, operation.target_name
    if kind in ("model", "service", "dataset", "job"):
        return f"/api/v1/{kind}s/{name}"
    if kind == "version" and (model := operation.arguments.get("model")):
        return f"/api/v1/models/{model}/versions/{name}"
    if kind == "run" and (job := operation.arguments.get("job")):
        return f"/api/v1/jobs/{job}/runs/{operation.arguments['number']}"
    if kind in ("webhook", "token", "file", "upload"):
        return f"/api/v1/{kind}s/{operation.target_id}"
    return f"/api/v1/system/switches/{name}" if kind == "switch" else None
