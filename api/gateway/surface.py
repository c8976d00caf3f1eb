"""What is served on a service's own port: the predictions of this one service at the root, by the gateway itself."""

import re
from dataclasses import dataclass
from typing import Final

from starlette.types import Receive, Scope, Send

from api.gateway.paths import V1_MODEL, V2_MODEL, is_of_a_protocol
from api.gateway.refusing import refuse
from api.gateway.split import Gateway
from core.errors import NotFound, PlatformError

PREDICT: Final = re.compile(r"(/parts/[^/]+)?/predict/*")


@dataclass(frozen=True, slots=True)
class ServiceSurface:
    """`/predict`, `/parts/{key}/predict`, `/v1/…` and `/v2/…` of the service that has this port now, and `/healthz`.

    Who may ask is as everywhere.
    """

    gateway: Gateway
    port: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Route one ASGI connection."""
        path: str = scope.get("path", "")
        if scope["type"] != "http" or path == "/healthz":
            await self.gateway(scope, receive, send)
            return
        try:
            target = self._target(path, self.gateway.tenant_of(scope))
        except PlatformError as error:
            await refuse(scope, send, error, is_terse=is_of_a_protocol(path))
            return
        if target != path:  # what the replica sees is the path as it came, undecoded: it may hold %0d%0a
            came: bytes = scope["raw_path"]
            scope = {**scope, "path": target, "raw_path": target[: -len(path)].encode() + came}
        await self.gateway(scope, receive, send)

    def _target(self, path: str, tenant_id: str) -> str:
        """The same path where the gateway has it, which ends as it came. Raises `NotFound` for what is not this
        service's."""
        owner = self.gateway.table.service_at(self.port)
        if owner is None or owner.tenant_id != tenant_id:
            raise NotFound(f"port {self.port} serves no service of yours; GET /api/v1/services lists them")
        if PREDICT.fullmatch(path) is not None:
            return f"/api/v1/services/{owner.name}{path}"
        found = V2_MODEL.fullmatch(path) or V1_MODEL.fullmatch(path)
        if found is not None and found.group(1) != owner.name:
            raise NotFound(f"Request for unknown model: '{found.group(1)[:60]}' is not found at port {self.port}")
        if found is None and path != "/v2" and not path.startswith("/v2/health") and path != "/v2/":
            ways = f"POST /predict, POST /v2/models/{owner.name}/infer"
            raise NotFound(f"there is nothing at {path[:100]}: this port serves service '{owner.name}'; use {ways}")
        return path
