"""The outermost layer, pure ASGI: the request's id, HEAD, counters, and a 500 problem for what nobody expected."""

import logging
import re
import time

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import problem
from core.errors import PlatformError
from core.failpoints import failpoint
from core.ids import new_id
from core.logs import log_context

log = logging.getLogger(__name__)

SANE_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,80}")


class InternalError(PlatformError):
    """A bug of ours. The caller learns the request's id and nothing else."""

    status, code, title = 500, "internal_error", "Internal error"


class _HeadEnded(OSError):
    """Stops a streamed answer to HEAD after its first piece, as ASGI says that nobody reads any more."""


class Meter:
    """Counts and times requests by method, route and status."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("method", "route", "status")
        self._count = Counter("portside_http_requests", "Requests to the control plane.", labels, registry=registry)
        self._time = Histogram(
            "portside_http_request_seconds", "Time to the end of the answer.", ("route",), registry=registry
        )

    def observe(self, scope: Scope, method: str, status: int, seconds: float) -> None:
        """Count one request; a path without a route is one label, so that strangers cannot fill the memory."""
        route = getattr(scope.get("route"), "path_format", "none")
        self._count.labels(method if method.isalpha() and len(method) < 10 else "other", route, str(status)).inc()
        self._time.labels(route).observe(seconds)


class Edge:
    """Wraps the app; see the module."""

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        self._app = app
        self._meter = Meter(registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        with log_context(request_id=request_id):
            await self._serve(scope, receive, _Answer(send, request_id, is_head=scope["method"] == "HEAD"))

    async def _serve(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        began, method = time.perf_counter(), scope["method"]
        if method == "HEAD":
            scope = {**scope, "method": "GET"}
        scope.setdefault("state", {})["request_id"] = answer.request_id
        try:
            await self._app(scope, receive, answer.send)
            if method not in ("GET", "HEAD"):
                failpoint("after_answer")
        except _HeadEnded:
            pass
        except ClientDisconnect:
            log.info("the client went away: %s %s", method, scope["path"])
        except Exception:
            log.exception("a request failed: %s %s", method, scope["path"])
            if answer.status_code:
                raise  # the answer has begun: all that is left is to cut the connection
            failed = InternalError(f"this is a bug of ours; the log tells more under {answer.request_id}")
            await problem(scope, failed)(scope, receive, answer.send)
        finally:
            took_s = time.perf_counter() - began
            self._meter.observe(scope, method, answer.status_code, took_s)
            # What changes something is a line; what only looks comes many times a second and is one for who debugs.
            level = logging.DEBUG if method in ("GET", "HEAD") and answer.status_code < 500 else logging.INFO
            log.log(level, "%s %s answered %d in %.0f ms", method, scope["path"], answer.status_code, 1000 * took_s)


class _Answer:
    """The way back to the client: adds the request's id, drops the body of an answer to HEAD."""

    def __init__(self, send: Send, request_id: str, *, is_head: bool) -> None:
        self._send = send
        self._is_head = is_head
        self.request_id = request_id
        self.status_code = 0
        self._has_ended = False

    async def send(self, message: Message) -> None:
        """Pass one message on."""
        if message["type"] == "http.response.start":
            self.status_code = message["status"]
            named = (b"x-request-id", self.request_id.encode("latin-1"))
            message = {**message, "headers": [*message.get("headers", ()), named]}
        elif self._is_head and message["type"] == "http.response.body":
            if self._has_ended:
                raise _HeadEnded("the answer to HEAD has ended")
            self._has_ended = True
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and SANE_ID.fullmatch(value):
            return str(value.decode("ascii"))
    return new_id("req")
