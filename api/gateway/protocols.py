"""What the inference protocols ask of the whole server and not of one model: answered from the routing table.

The platform decides what runs: to load and unload is asked here and done by the verbs of the API. Nothing is kept in
shared memory, and the settings of logs and traces are the operator's: they are told, and changing them is refused.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from starlette.types import Message, Receive, Scope, Send

from api.gateway.connection import ConnectionBroken, ConnectionPool
from api.gateway.forward import ClientGone, Exchange
from api.gateway.holding import Holding
from api.gateway.paths import PREDICTING, READING, SETTING
from api.gateway.refusing import tell
from api.gateway.table import Route
from core.errors import MalformedBody, NotFound, PlatformError, Rejected, TooLarge

EXTENSIONS: Final = (
    "binary_tensor_data", "classification", "model_configuration", "model_repository", "parameters", "statistics",
)  # fmt: skip
# The settings in the form of Triton's, whose clients ask for them.
LOGGING: Final = {
    "log_file": "", "log_info": True, "log_warning": True, "log_error": True, "log_verbose_level": 0,
    "log_format": "default",
}  # fmt: skip
TRACING: Final = {
    "trace_level": ["OFF"], "trace_rate": "1000", "trace_count": "-1", "log_frequency": "0", "trace_file": "",
    "trace_mode": "triton",
}  # fmt: skip
MAX_BODY_BYTES: Final = 1024 * 1024
MOST_ASKED, ASKED_AT_ONCE, STATS_S, ALL_STATS_S = 500, 16, 5.0, 10.0


class NotDoneHere(Rejected):
    """The protocol has it, this platform does it in another way or not at all."""

    status, code, title = 400, "not_done_here", "Not possible in this way"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, by whom; `parts` are those of the path."""

    tenant_id: str
    parts: tuple[str, ...]
    body: bytes
    changes: bool  # POST

    def document(self) -> dict[str, object]:
        """The body as an object; an empty one may be left out. Raises `MalformedBody`."""
        if not self.body.strip():
            return {}
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise MalformedBody(f"the body is not JSON: {str(error)[:200]}") from error
        if not isinstance(found, dict):
            raise MalformedBody("the body is no JSON object")
        return found


Answer = Callable[[Question], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Found:
    """Who answers a path."""

    methods: tuple[str, ...]
    answer: Answer
    parts: tuple[str, ...]


class ServerAnswers:
    """Answers for all services of a tenant."""

    def __init__(self, holding: Holding, pool: ConnectionPool, version: str) -> None:
        self._holding, self._table, self._pool, self._version = holding, holding.table, pool, version

    def find(self, path: str) -> Found:
        """Who answers a path. Raises `NotFound`."""
        for pattern, methods, answer in PATHS:
            if (found := pattern.fullmatch(path)) is not None:
                return Found(methods, partial(answer, self), found.groups())
        family = "KServe's V1 protocol" if path.startswith("/v1") else "the Open Inference Protocol"
        raise NotFound(f"there is no {path[:200]} in {family} here")

    async def answer(self, found: Found, tenant_id: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer. Raises a `PlatformError`, `ClientGone`."""
        changes = scope["method"] == "POST"
        body = await _body(receive) if changes else b""
        await tell(send, 200, await found.answer(Question(tenant_id, found.parts, body, changes)))

    async def about(self, question: Question) -> object:
        """The server's metadata."""
        return {"name": "portside", "version": self._version, "extensions": EXTENSIONS}

    async def live(self, question: Question) -> object:
        """It answers, so it lives."""
        return {"live": True}

    async def ready(self, question: Question) -> object:
        """Whether predictions can be routed."""
        return {"ready": self._table.is_loaded}

    async def names(self, question: Question) -> object:
        """KServe's V1 list."""
        return {"models": [route.service.name for route in self._table.routes_of(question.tenant_id)]}

    async def index(self, question: Question) -> object:
        """Every service with its version and state; `{"ready": true}` leaves out those that are not."""
        only_ready = question.document().get("ready") is True
        listed = [_indexed(route) for route in self._table.routes_of(question.tenant_id)]
        return [each for each in listed if not only_ready or each["state"] == "READY"]

    async def load(self, question: Question) -> object:
        """Nothing has to be done for a service that answers; for another one the verb is named."""
        name = question.parts[0]
        route = self._table.route(question.tenant_id, name)
        if route is None:
            how = "no service is called so; POST /api/v1/services deploys one"
        elif _is_ready(route):
            return {"name": name, "load": True}
        elif route.service.status in ("paused", "pausing"):
            how = f"the service is {route.service.status}; POST /api/v1/services/{name}:resume brings it back"
        else:
            how = f"the service is {route.service.status}; GET /api/v1/services/{name} says why"
        raise NotDoneHere(f"failed to load '{name[:60]}', {how}")

    async def unload(self, question: Question) -> object:
        """What others use is not ended by a client of the model."""
        name = question.parts[0]
        if self._table.route(question.tenant_id, name) is None:
            raise NotDoneHere(f"failed to unload '{name[:60]}', no service is called so")
        raise NotDoneHere(
            f"failed to unload '{name}', services are not unloaded here; POST /api/v1/services/{name}:pause takes its "
            "processes away"
        )

    async def logging(self, question: Question) -> object:
        """The settings of the log, in Triton's words."""
        return _unchanged(LOGGING, question, "set PORTSIDE_LOG_LEVEL and PORTSIDE_LOG_FORMAT and start again")

    async def tracing(self, question: Question) -> object:
        """The settings of traces, in Triton's words."""
        return _unchanged(TRACING, question, "there are no traces; `traceparent` is passed on to the model server")

    async def shared_status(self, question: Question) -> object:
        """The regions of shared memory: none."""
        kind, region = question.parts
        if region is None:
            return []
        raise NotDoneHere(f"Unable to find {kind} shared memory region: '{region[:60]}'")

    async def shared_register(self, question: Question) -> object:
        """Clients and model servers share no memory."""
        raise NotDoneHere(f"{question.parts[0]} shared memory is not used here; send the tensors as binary data")

    async def shared_unregister(self, question: Question) -> object:
        """There is nothing to be taken back."""
        return {}

    async def all_stats(self, question: Question) -> object:
        """The statistics of every service that answers in time, each from one of its replicas."""
        routes = [route for route in self._table.routes_of(question.tenant_id) if _is_ready(route)]
        if len(routes) > MOST_ASKED:
            raise NotDoneHere(f"there are {len(routes)} services; ask for /v2/models/NAME/stats one at a time")
        at_once, until = asyncio.Semaphore(ASKED_AT_ONCE), asyncio.get_running_loop().time() + ALL_STATS_S

        async def ask(route: Route) -> list[object]:
            try:
                async with asyncio.timeout_at(until), at_once:
                    return await self._stats_of(route)
            except TimeoutError:
                return []

        async with asyncio.TaskGroup() as group:
            asking = [group.create_task(ask(route)) for route in routes]
        return {"model_stats": [each for task in asking for each in task.result()]}

    async def _stats_of(self, route: Route) -> list[object]:
        answer = _Collected()
        exchange = Exchange(self._holding, self._pool, lambda: route, _Nobody().receive, answer.send, MAX_BODY_BYTES)
        try:
            await exchange.run(b"GET", f"/v2/models/{route.service.name}/stats".encode(), [], STATS_S, takes_turn=False)
            found = json.loads(answer.data).get("model_stats") if answer.status_code == 200 else None
        except (PlatformError, ConnectionBroken, ClientGone, ValueError, AttributeError):
            return []  # it is not there any more, or not yet
        return found if isinstance(found, list) else []


class _Collected:
    """An answer that is kept instead of sent."""

    def __init__(self) -> None:
        self.status_code, self.data = 0, b""

    async def send(self, message: Message) -> None:
        """Keep one message."""
        if message["type"] == "http.response.start":
            self.status_code = message["status"]
        else:
            self.data += message.get("body", b"")


class _Nobody:
    """The sender of a request without a body, who never leaves."""

    def __init__(self) -> None:
        self._has_sent = False

    async def receive(self) -> Message:
        """The empty body, and then nothing more."""
        if self._has_sent:
            await asyncio.Event().wait()
        self._has_sent = True
        return {"type": "http.request", "body": b"", "more_body": False}


async def _body(receive: Receive) -> bytes:
    data, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        data += message.get("body", b"")
        more = message.get("more_body", False)
        if len(data) > MAX_BODY_BYTES:
            raise TooLarge(f"this body may have {MAX_BODY_BYTES} bytes; models are uploaded at /api/v1/models")
    return data


def _is_ready(route: Route) -> bool:
    return bool(route.backends) and route.service.status in ("running", "degraded", "updating")


def _indexed(route: Route) -> dict[str, str]:
    state = "READY" if _is_ready(route) else "UNAVAILABLE"
    reason = "" if state == "READY" else f"the service is {route.service.status}"
    return {"name": route.service.name, "version": route.service.version, "state": state, "reason": reason}


def _unchanged(settings: Mapping[str, object], question: Question, hint: str) -> object:
    wished = question.document() if question.changes else {}
    differing = [name for name, value in wished.items() if value is not None and settings.get(name) != value]
    if differing:
        raise NotDoneHere(f"'{differing[0][:60]}' cannot be changed here; {hint}")
    return settings


_SHARED: Final = r"/v2/(system|cuda|xpu)sharedmemory(?:/region/([^/]+))?/"
PATHS: Final = tuple(
    (re.compile(pattern + "/?"), methods, answer)
    for pattern, methods, answer in (
        (r"/v2", READING, ServerAnswers.about),
        (r"/v2/health/live", READING, ServerAnswers.live),
        (r"/v2/health/ready", READING, ServerAnswers.ready),
        (r"/v1/models", READING, ServerAnswers.names),
        (r"/v2/models/stats", READING, ServerAnswers.all_stats),
        (r"/v2/repository/index", PREDICTING, ServerAnswers.index),
        (r"/v2/repository/models/([^/]+)/load", PREDICTING, ServerAnswers.load),
        (r"/v2/repository/models/([^/]+)/unload", PREDICTING, ServerAnswers.unload),
        (r"/v2/logging", SETTING, ServerAnswers.logging),
        (r"/v2/trace/setting", SETTING, ServerAnswers.tracing),
        (_SHARED + "status", READING, ServerAnswers.shared_status),
        (_SHARED + "register", PREDICTING, ServerAnswers.shared_register),
        (_SHARED + "unregister", PREDICTING, ServerAnswers.shared_unregister),
    )
)
