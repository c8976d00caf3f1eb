"""The ASGI application in front: prediction paths go to replicas, everything else to the API."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.gateway.connection import ConnectionBroken, ConnectionPool
from api.gateway.forward import ClientGone, Exchange, passed_on
from api.gateway.heads import check_length, request_id_of, timeout_s
from api.gateway.holding import BETWEEN, Holding, unavailable
from api.gateway.metrics import UNROUTED, StatusSeen, Tallies
from api.gateway.paths import ALL_STATS, Asked, asked_of, is_of_a_protocol
from api.gateway.protocols import ServerAnswers
from api.gateway.refusing import refuse, tell_methods
from api.gateway.table import Route, RoutingTable
from core.errors import Conflict, NotFound, PlatformError, Rejected
from core.logs import log_context
from state.traffic import TrafficCounter

log = logging.getLogger(__name__)

HANDED_OVER = "portside.handed_over"  # in a scope's state, where the short way has begun
CLOSED = ("paused", "pausing", "failed")  # no prediction gets through, whatever replicas there still are


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
        if scope["type"] != "http" or not (path.startswith(("/v2", "/v1")) or path.endswith(("/predict", "/predict/"))):
            await self.api(scope, receive, send)
            return
        asked = asked_of(path)
        if asked is not None and not self._means_all(scope, path):
            await self._serve(scope, receive, send, asked)
        elif is_of_a_protocol(path):
            await self._answer_for_all(scope, receive, send)
        else:
            await self.api(scope, receive, send)

    def _means_all(self, scope: Scope, path: str) -> bool:
        """Whether a path that looks like one of the service `stats` is meant for all: the tenant has none so called."""
        if ALL_STATS.fullmatch(path) is None:
            return False
        try:
            return self.table.route(self.tenant_of(scope), "stats") is None
        except PlatformError:
            return True  # which is refused there

    async def _answer_for_all(self, scope: Scope, receive: Receive, send: Send) -> None:
        answers = ServerAnswers(self.holding, self.pool, self.version)
        try:
            tenant_id = self.tenant_of(scope)
            found = answers.find(scope["path"])
            if scope["method"] == "OPTIONS":
                await tell_methods(send, found.methods)
                return
            if scope["method"] not in found.methods:
                allow = ", ".join(found.methods)
                raise MethodNotAllowed(f"{scope['path'][:200]} takes {allow}, not {scope['method']}", allow=allow)
            await answers.answer(found, tenant_id, scope, receive, send)
        except PlatformError as error:
            allow = str(error.extensions.get("allow", ""))
            await refuse(scope, send, error, is_terse=True, allow=allow or None)
        except ClientGone:
            log.info("%s %s was broken off", scope["method"], scope["path"])

    async def _serve(self, scope: Scope, receive: Receive, send: Send, asked: Asked) -> None:
        if scope["method"] == "OPTIONS":
            await tell_methods(send, asked.methods)
            return
        request_id, seen, began = request_id_of(scope["headers"]), StatusSeen(send), self.tallies.began()
        try:
            await self._predict(scope, receive, seen, asked, request_id)
        finally:
            known = self.table.knows(asked.service)
            took_s = self.tallies.ended(asked.service if known else UNROUTED, seen.status_code, began)
            if (service := seen.service) is not None:
                self.traffic.count(service.tenant_id, service.id, seen.replica_id, seen.status_code, took_s)

    async def _predict(self, scope: Scope, receive: Receive, seen: StatusSeen, asked: Asked, request_id: bytes) -> None:
        exchange: Exchange | None = None
        send, terse, headers = seen.send, asked.is_terse, scope["headers"]
        try:
            method: str = scope["method"]
            if method not in asked.methods:
                takes, allow = asked.methods[0], ", ".join(asked.methods)
                raise MethodNotAllowed(f"{scope['path']} takes {takes}, not {method}", allow=allow)
            find = self._finder(self.tenant_of(scope), asked, seen)
            find()
            check_length(headers, self.max_bytes)
            exchange = Exchange(self.holding, self.pool, find, receive, _tagged(send, request_id), self.max_bytes)
            passed = dict([*passed_on(headers), (b"x-request-id", request_id)])  # each once
            await exchange.run(
                asked.method_for(method),
                _target(scope),
                list(passed.items()),
                timeout_s(headers),
                takes_turn=asked.is_prediction,
                handed_over=scope.get("state", {}).get(HANDED_OVER),
            )
        except PlatformError as error:
            if exchange is not None and exchange.answer_started:
                seen.status_code = error.status
                raise  # the answer is cut: only closing the connection can still say so
            allow = str(error.extensions.pop("allow", ""))
            await refuse(scope, send, error, is_terse=terse, allow=allow or None, request_id=request_id)
        except (ClientGone, ConnectionBroken) as error:
            with log_context(request_id=request_id.decode(), resource_type="service", resource_name=asked.service):
                log.info("%s %s was broken off: %r", scope["method"], scope["path"], error)
        finally:
            if exchange is not None:
                seen.replica_id = exchange.replica_id

    def _finder(self, tenant_id: str, asked: Asked, seen: StatusSeen) -> Callable[[], Route]:
        """What finds the route; `seen`, if this is a prediction, learns whose it is, also where none is ready."""
        if asked.is_prediction and (route := self.table.route(tenant_id, asked.service)) is not None:
            seen.service = route.service
        return partial(self.route, tenant_id, asked.service, is_terse=asked.is_terse)

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


def _target(scope: Scope) -> bytes:
    path: bytes = scope.get("raw_path", scope["path"].encode()).rstrip(b"/")
    query: bytes = scope.get("query_string", b"")
    return path + b"?" + query if query else path


def _tagged(send: Send, request_id: bytes) -> Send:
    async def tagged(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [header for header in message["headers"] if header[0] != b"x-request-id"]
            message = {**message, "headers": [*kept, (b"x-request-id", request_id)]}
        await send(message)

    return tagged
