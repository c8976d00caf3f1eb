"""The route class of the control plane: who asks is known before anything is read, and nothing unknown is ignored.

`OpenRoute` is for the few paths that need no token (health, the API description).
"""

import asyncio
import json
import re
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from email.message import Message
from typing import Any, ClassVar

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.convertors import PathConvertor
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from api.dependencies import Context
from api.nearest import hint
from api.pages import Listing
from api.script_scope import refuse_beyond_its_run
from core.errors import (
    BodyStalled,
    FieldProblem,
    InvalidField,
    Json,
    MalformedBody,
    TooLarge,
    UnknownField,
    UnsupportedMediaType,
)
from core.logs import note_in_log_context

# What may be beyond the range of a double: two searches, as one with an alternative is ten times slower.
HUGE_EXPONENT = re.compile(rb"[eE]\+?0*[1-9]\d\d")
MANY_DIGITS = re.compile(rb"[.eE](?<=\d{200}.)")
# Of any JSON body but a prediction's: what the event loop reads in a few milliseconds, and more than any has to say.
CONTROL_BODY_BYTES = 1024 * 1024
TAKES_NONE = "this call takes none; leave it out"
SAFE = ("GET", "HEAD", "OPTIONS")
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class BoundedRequest(Request):
    """A request whose body is read up to a limit and parsed strictly."""

    most_bytes = CONTROL_BODY_BYTES

    async def body(self) -> bytes:
        """The whole body, kept. Raises `TooLarge` as soon as it is certain."""
        if not hasattr(self, "_body"):
            context: Context = self.app.state.context
            limit = min(self.most_bytes, context.settings.max_body_bytes)
            announced = self.headers.get("content-length", "")
            if announced.isdecimal() and int(announced[:20]) > limit:
                raise _too_large(limit)
            received = bytearray()
            async for piece in self.stream():
                received += piece
                if len(received) > limit:
                    raise _too_large(limit)
            self._body = bytes(received)
        return self._body

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The body's pieces as they come. Raises `BodyStalled` when the next one takes too long."""
        context: Context = self.app.state.context
        async for piece in _without_stalls(super().stream(), context.body_idle_s):
            yield piece

    async def json(self) -> Json:
        """The body as JSON (RFC 8259: no NaN, no lone surrogates). Raises `MalformedBody`."""
        return read_json(await self.body())


async def _without_stalls(pieces: AsyncGenerator[bytes, None], idle_s: float) -> AsyncIterator[bytes]:
    """The pieces as they come. Raises `BodyStalled` when the next one takes too long."""
    while True:
        try:
            async with asyncio.timeout(idle_s):
                piece = await anext(pieces)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise BodyStalled(f"no more of the body came within {idle_s:g} s; send the request again") from error
        yield piece


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body is larger than the limit of {limit} bytes; send less", limit_bytes=limit)


def read_json(body: bytes) -> Json:
    """The document in `body`. Raises `MalformedBody` with the position."""
    try:
        document: Json = json.loads(body, parse_constant=_refuse_constant)
        lowered = body.lower()
        if HUGE_EXPONENT.search(body) or MANY_DIGITS.search(body):
            _refuse_infinity(document)
        if b"\\ud" in lowered:
            json.dumps(document, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise MalformedBody(
            f"the body is not JSON: {error.msg} at {where}", line=error.lineno, column=error.colno
        ) from error
    except UnicodeError as error:
        raise MalformedBody("the body is not JSON: its text is not valid Unicode; send UTF-8") from error
    except RecursionError as error:
        raise MalformedBody("the JSON is nested too deeply to be read; flatten it") from error
    except ValueError as error:  # a number of more than 4,300 digits
        raise MalformedBody(f"the body is not JSON that we read: {str(error)[:200]}") from error
    if b"\\u0000" in lowered or b"\x00" in body:
        raise MalformedBody("the body has a NUL character (\\u0000), which cannot be stored; leave it out")
    return document


def _refuse_infinity(document: Json) -> None:
    """1e999 is JSON and becomes infinity, which nobody can be shown."""
    try:
        json.dumps(document, allow_nan=False)
    except ValueError as error:
        raise MalformedBody("the body has a number beyond the range of a double; use one below 1.8e308") from error


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON; use null")


class OpenRoute(APIRoute):
    """A route that answers anybody.

    FastAPI reads what its endpoint takes and answers with when the route is first asked for, or described: half a
    millisecond, and for all routes at once a tenth of a platform's start.
    """

    most_body_bytes: ClassVar[int] = CONTROL_BODY_BYTES

    def __init__(self, path: str, endpoint: Callable[..., object], **options: object) -> None:
        # Inference clients send JSON without a content type; a page of another site is known by its Origin.
        self._given: dict[str, Any] = {**options, "strict_content_type": False}
        self._is_complete = False
        # What a match needs. For Starlette alone every GET would be a HEAD, too.
        Route.__init__(self, path, endpoint, methods=self._given["methods"])
        self.methods = set(self._given["methods"])

    def complete(self) -> None:
        """Have FastAPI read the endpoint, unless it has. Two threads may do so at once: both come to the same."""
        if not self._is_complete:
            super().__init__(self.path, self.endpoint, **self._given)
            self._is_complete = True

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As the framework does, once the route is complete."""
        self.complete()
        await super().handle(scope, receive, send)

    def get_route_handler(self) -> Handler:
        """FastAPI's handler behind our checks, which raise `PlatformError`s."""
        handle = super().get_route_handler()
        known = _query_names(self.dependant)
        has_listing = any(isinstance(part.call, Listing) for part in self.dependant.dependencies)
        reads_json = self.body_field is not None

        async def checked(request: Request) -> Response:
            await self.authenticate(request)
            _refuse_nul(request)
            if not has_listing:
                _refuse_unknown(request, known)
            if reads_json:
                _refuse_other_types(request)
            bounded = BoundedRequest(request.scope, request.receive)
            bounded.most_bytes = self.most_body_bytes
            return await handle(bounded)

        return checked

    async def authenticate(self, request: Request) -> None:
        """Nothing to know about who asks."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As the framework does, but a path parameter never swallows a verb: `{id}` is not `op_1:cancel`."""
        match, child = super().matches(scope)
        values = child.get("path_params", {}).items()
        if match is not Match.NONE and any(
            isinstance(each, str) and self._has_verb(name, each) for name, each in values
        ):
            return Match.NONE, {}
        return match, child

    def _has_verb(self, name: str, value: str) -> bool:
        """The path of a file, which nothing comes behind, may have a colon of its own."""
        is_whole_path = isinstance(self.param_convertors.get(name), PathConvertor)
        return "\x00" in value or (":" in value.removeprefix("sha256:") and not is_whole_path)


class PlatformRoute(OpenRoute):
    """A route of the control plane: `request.state.who` is set before the body is read."""

    changes_when_read_only: ClassVar[bool] = False

    async def authenticate(self, request: Request) -> None:
        """Raises `Unauthenticated` or `Forbidden`, and `ReadOnly` for a change while nothing may be changed."""
        request_id = getattr(request.state, "request_id", None)
        request.state.who = await request.app.state.context.authenticator.admit(request.headers.raw, request_id)
        note_in_log_context(tenant_id=request.state.who.tenant_id)
        if request.method not in SAFE:
            refuse_beyond_its_run(request.state.who, request.method, self.path)
            if not self.changes_when_read_only:
                request.app.state.context.switches.check("read_only")


class SubmissionRoute(PlatformRoute):
    """A route whose body holds a prediction's input: as large as the setting allows."""

    most_body_bytes = sys.maxsize


class OperatorRoute(PlatformRoute):
    """A route that works while nothing else may be changed: else nobody could switch that on again."""

    changes_when_read_only = True


def _query_names(part: Dependant) -> set[str]:
    """The query parameters that a route and what it depends on declare."""
    return {field.alias for field in part.query_params}.union(*map(_query_names, part.dependencies))


def _refuse_nul(request: Request) -> None:
    """PostgreSQL stores no NUL; it would be our error at the first comparison."""
    for name, value in request.query_params.multi_items():
        if "\x00" in name + value:
            detail = "a query parameter has a NUL character; leave it out"
            raise InvalidField(detail, fields=[FieldProblem(f"/{name[:100]}", detail)])


def _refuse_unknown(request: Request, known: set[str]) -> None:
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        problems = [
            FieldProblem(
                f"/{name[:100]}", f"there is no query parameter '{name[:100]}'", hint(name, known) or TAKES_NONE
            )
            for name in unknown[:20]
        ]
        raise UnknownField(f"unknown query parameter '{unknown[0][:100]}'", fields=problems)


def _refuse_other_types(request: Request) -> None:
    given = request.headers.get("content-type")
    if given is None:
        return
    message = Message()
    message["content-type"] = given
    subtype = message.get_content_subtype()
    if message.get_content_maintype() != "application" or not (subtype == "json" or subtype.endswith("+json")):
        raise UnsupportedMediaType(f"this call reads JSON, not '{given[:100]}'; send Content-Type: application/json")
