"""The ASGI application in front: prediction paths go to replicas, everything else to the API."""

import json
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.gateway.connection import ConnectionBroken, ConnectionPool
from api.gateway.forward import ClientGone, Exchange, passed_on
from api.gateway.holding import BETWEEN, Holding, unavailable
from api.gateway.metrics import UNROUTED, StatusSeen, Tallies
from api.gateway.table import Route, RoutingTable
from core.errors import (
    Conflict,
    InvalidField,
    NotFound,
    PlatformError,
    Rejected,
    TooLarge,
    Unavailable,
)
from core.ids import new_id
from core.logs import log_context
from state.traffic import TrafficCounter

log = logging.getLogger(__name__)

DEFAULT_TIMEOUT_S = 60.0
MAX_TIMEOUT_S = 3600.0
PREDICT = re.compile(r"/api/v1/services/([^/]+)(?:/parts/[^/]+)?/predict/?")
OIP_MODEL = re.compile(r"/v2/models/([^/]+)(/versions/[^/]+)?(/ready|/infer|/stats)?/?")
OIP_SERVER = re.compile(r"/v2(/health/live|/health/ready)?/?")
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?")
UNIT_S = {"ms": 0.001, "s": 1.0, None: 1.0, "m": 60.0, "h": 3600.0}
READING = ("GET", "HEAD", "OPTIONS")  # the server drops the body of an answer to HEAD
PREDICTING = ("POST", "OPTIONS")
SERVER_METADATA = {"name": "portside", "version": "", "extensions": []}


class ServicePaused(Conflict):
    """The service exists and has no process on purpose."""

    code, title = "service_paused", "The service is paused"


class ServiceFailed(Conflict):
    """The service never became ready."""

    code, title = "service_failed", "The service has failed"


class MethodNotAllowed(Rejected):
    """The path exists and does not take this method."""

    status, code, title = 405, "method_not_allowed", "Method not allowed"


@dataclass(frozen=True, slots=True)
class Gateway:
    """Serves the prediction paths; `tenant_of` authenticates a request without asking the database."""

    api: ASGIApp
    holding: Holding
    pool: ConnectionPool
    tenant_of: Callable[[Scope], str]
    max_bytes: int
    version: str
    tallies: Tallies = field(default_factory=Tallies)
    traffic: TrafficCounter = field(default_factory=TrafficCounter)

    @property
    def table(self) -> RoutingTable:
        """Where predictions go."""
        return self.holding.table

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Route one ASGI connection."""
        path: str = scope.get("path", "")
        if scope["type"] == "http" and (path.startswith("/v2") or path.endswith(("/predict", "/predict/"))):
            if (found := PREDICT.fullmatch(path)) is not None:
                target = scope.get("raw_path", path.encode()).rstrip(b"/")
                await self._serve(scope, receive, send, found.group(1), target, takes="POST", oip=False)
                return
            if path == "/v2" or path.startswith("/v2/"):
                await self._open_inference(scope, receive, send, path)
                return
        await self.api(scope, receive, send)

    async def _open_inference(self, scope: Scope, receive: Receive, send: Send, path: str) -> None:
        if (found := OIP_MODEL.fullmatch(path)) is not None:
            target = scope.get("raw_path", path.encode()).rstrip(b"/")
            takes = "POST" if found.group(3) == "/infer" else "GET"  # a service may itself be called so
            await self._serve(scope, receive, send, found.group(1), target, takes=takes, oip=True)
            return
        server = OIP_SERVER.fullmatch(path)
        try:
            self.tenant_of(scope)
        except PlatformError as error:
            await refuse(scope, send, error, oip=True)
            return
        if server is None:
            await refuse(scope, send, NotFound(f"there is no {path} in the Open Inference Protocol here"), oip=True)
        elif scope["method"] == "OPTIONS":
            await _tell_methods(send, READING)
        elif scope["method"] not in READING:
            await refuse(scope, send, MethodNotAllowed(f"{path} takes GET"), oip=True, allow=", ".join(READING))
        else:
            answers = {"/health/live": {"live": True}, "/health/ready": {"ready": self.table.is_loaded}}
            answer = answers.get(server.group(1) or "", {**SERVER_METADATA, "version": self.version})
            await _json(send, 200, answer, [])

    async def _serve(
        self, scope: Scope, receive: Receive, send: Send, name: str, target: bytes, *, takes: str, oip: bool
    ) -> None:
        if scope["method"] == "OPTIONS":
            await _tell_methods(send, _methods_of(takes))
            return
        request_id, seen, began = _request_id(scope), StatusSeen(send), self.tallies.began()
        try:
            await self._predict(scope, receive, seen, name, target, takes=takes, oip=oip, request_id=request_id)
        finally:
            took_s = self.tallies.ended(name if self.table.knows(name) else UNROUTED, seen.status_code, began)
            if (service := seen.service) is not None:
                self.traffic.count(service.tenant_id, service.id, seen.replica_id, seen.status_code, took_s)

    async def _predict(
        self,
        scope: Scope,
        receive: Receive,
        seen: StatusSeen,
        name: str,
        target: bytes,
        *,
        takes: str,
        oip: bool,
        request_id: bytes,
    ) -> None:
        exchange: Exchange | None = None
        send = seen.send
        try:
            method: str = scope["method"]
            if method not in (allowed := _methods_of(takes)):
                raise MethodNotAllowed(f"{scope['path']} takes {takes}, not {method}", allow=", ".join(allowed))
            find = self._finder(self.tenant_of(scope), name, seen if takes == "POST" else None, oip=oip)
            find()
            self._check_length(scope)
            exchange = Exchange(self.holding, self.pool, find, receive, _tagged(send, request_id), self.max_bytes)
            timeout_s = _timeout_s(scope)
            told = (b"portside-timeout", b"%dms" % max(1, timeout_s * 1000))  # nothing is run that nobody waits for
            headers = [*passed_on(scope["headers"]), (b"x-request-id", request_id), told]
            query: bytes = scope.get("query_string", b"")
            url = target + b"?" + query if query else target
            await exchange.run(takes.encode(), url, _once(headers), timeout_s)
        except PlatformError as error:
            if exchange is not None and exchange.answer_started:
                seen.status_code = error.status
                raise  # the answer is cut: only closing the connection can still say so
            allow = error.extensions.pop("allow", None)
            await refuse(scope, send, error, oip=oip, allow=str(allow) if allow else None, request_id=request_id)
        except (ClientGone, ConnectionBroken) as error:
            with log_context(request_id=request_id.decode(), resource_type="service", resource_name=name):
                log.info("%s %s was broken off: %r", scope["method"], scope["path"], error)
        finally:
            if exchange is not None:
                seen.replica_id = exchange.replica_id

    def _finder(self, tenant_id: str, name: str, seen: StatusSeen | None, *, oip: bool) -> Callable[[], Route]:
        """What finds the route; `seen`, if this is a prediction, learns whose it is, also where none is ready."""
        if seen is not None and (route := self.table.route(tenant_id, name)) is not None:
            seen.service = route.service
        return partial(self.route, tenant_id, name, is_terse=oip)

    def route(self, tenant_id: str, name: str, *, is_terse: bool) -> Route:
        """The route of a service that may be asked now. Raises `NotFound`, `ServicePaused`, `ServiceFailed` and
        `ReplicaUnavailable`."""
        route = self.table.route(tenant_id, name)
        if route is None:
            if is_terse:
                raise NotFound(f"Request for unknown model: '{name}' is not found")
            raise NotFound(f"no service is called '{name}'; GET /api/v1/services lists them")
        status = route.service.status
        if status in ("paused", "pausing"):
            resume = f"/api/v1/services/{name}:resume"
            raise ServicePaused(f"service '{name}' is {status}; POST {resume} brings it back", resume=resume)
        if status == "failed":
            raise ServiceFailed(f"service '{name}' has failed; GET /api/v1/services/{name} says why")
        if not route.backends:
            if status == "deleting":
                raise NotFound(f"service '{name}' is being deleted")
            if status not in BETWEEN:
                raise unavailable(route)
        return route

    def _check_length(self, scope: Scope) -> None:
        for name, value in scope["headers"]:
            # Without its leading zeros: Python reads no number of more than 4,300 digits.
            if name == b"content-length" and value.isdigit() and int(value.lstrip(b"0")[:20] or b"0") > self.max_bytes:
                raise TooLarge(f"a prediction body may have {self.max_bytes} bytes", limit_bytes=self.max_bytes)


def _timeout_s(scope: Scope) -> float:
    for name, value in scope["headers"]:
        if name == b"portside-timeout":
            found = DURATION.fullmatch(value.decode("latin-1").strip())
            seconds = float(found.group(1)) * UNIT_S[found.group(2)] if found else 0.0
            if not 0 < seconds <= MAX_TIMEOUT_S:
                raise InvalidField("Portside-Timeout is a duration such as 30s, 500ms or 2m, up to one hour")
            return seconds
    return DEFAULT_TIMEOUT_S


def _request_id(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and 0 < len(value) <= 80 and value.isascii() and value.decode().isprintable():
            found: bytes = value
            return found
    return new_id("req").encode()


def _once(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return list(dict(headers).items())


def _tagged(send: Send, request_id: bytes) -> Send:
    async def tagged(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [header for header in message["headers"] if header[0] != b"x-request-id"]
            message = {**message, "headers": [*kept, (b"x-request-id", request_id)]}
        await send(message)

    return tagged


async def refuse(
    scope: Scope, send: Send, error: PlatformError, *, oip: bool, allow: str | None = None, request_id: bytes = b""
) -> None:
    """Answer an error in the words of the protocol: a problem document, or `{"error": …}` on /v2."""
    extra = [(b"allow", allow.encode())] if allow else []
    if isinstance(error, Unavailable):
        extra.append((b"retry-after", b"%d" % error.retry_after_s))
    if error.status == 401:
        extra.append((b"www-authenticate", b"Bearer"))
    if request_id:
        extra.append((b"x-request-id", request_id))
    status = 400 if oip and error.status == 422 else error.status
    problem = {**error.as_problem(), "instance": scope["path"], "request_id": request_id.decode()}
    kind = b"application/json" if oip else b"application/problem+json"
    await _json(send, status, {"error": error.message} if oip else problem, extra, kind)


def _methods_of(takes: str) -> Sequence[str]:
    """What may be asked of a service's path, the one that does the work first."""
    return READING if takes == "GET" else PREDICTING


async def _tell_methods(send: Send, methods: Sequence[str]) -> None:
    """What may be asked of a path, as the control plane answers OPTIONS."""
    headers = [(b"allow", ", ".join(methods).encode())]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def _json(
    send: Send, status: int, body: object, extra: list[tuple[bytes, bytes]], kind: bytes = b"application/json"
) -> None:
    data = json.dumps(body, ensure_ascii=False).encode()
    headers = [(b"content-type", kind), (b"content-length", b"%d" % len(data)), *extra]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": data})
