"""Every error as RFC 9457 problem details: ours, the framework's, and bugs (500, the traceback only in the log).

`problem` is the one function that renders; `api.edge` catches what nobody expected.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, cast

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match
from starlette.types import Scope

from api.validation import model_in, rejection
from core.errors import Json, MalformedBody, NotFound, PlatformError, Unauthenticated, Unavailable

PROBLEM = "application/problem+json"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class MethodNotAllowed(PlatformError):
    """The path exists, the method does not exist there."""

    status, code, title = 405, "method_not_allowed", "Method not allowed"


class UnknownPath(NotFound):
    """No route has this path."""

    code, title = "unknown_path", "No such path"


class Refused(PlatformError):
    """An error of the framework that has no better name; its status is the framework's."""

    code, title = "refused", "The request was refused"


def request_id_of(scope: Scope) -> str | None:
    """The id that `api.edge` gave this request."""
    found: str | None = scope.get("state", {}).get("request_id")
    return found


def problem(scope: Scope, error: PlatformError, headers: Mapping[str, str] | None = None) -> Response:
    """The problem document of an error, with the request's path and id."""
    extra = dict(headers or {})
    if isinstance(error, Unavailable):
        extra.setdefault("Retry-After", str(error.retry_after_s))
    if isinstance(error, Unauthenticated):
        extra["WWW-Authenticate"] = 'Bearer realm="portside"'
    return problem_document(scope, error.as_problem(), extra)


def problem_document(scope: Scope, document: Mapping[str, Json], headers: Mapping[str, str]) -> Response:
    """The same for a document that was stored (an operation's `error`)."""
    body = {**document, "instance": scope["path"], "request_id": request_id_of(scope)}
    status = document.get("status")
    return JSONResponse(body, status if isinstance(status, int) else 500, dict(headers), media_type=PROBLEM)


def allowed_methods(scope: Scope) -> Sequence[str]:
    """The methods that some route has for this path; OPTIONS and HEAD come with the others."""
    routes = [route for route in scope["app"].router.routes if getattr(route, "name", "") != "unknown_path"]
    fresh = {**scope, "path_params": {}}  # without those of the route for unknown paths
    found = {
        method
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
        if any(route.matches({**fresh, "method": method})[0] is Match.FULL for route in routes)
    }
    if not found:
        return ()
    return [m for m in METHODS if m in found or m == "OPTIONS" or (m == "HEAD" and "GET" in found)]


def no_route(scope: Scope) -> Response:
    """404 for an unknown path, 405 with `Allow` for an unknown method, 204 with `Allow` for OPTIONS."""
    allowed = allowed_methods(scope)
    shown = scope["path"][:200]
    if not allowed:
        return problem(scope, UnknownPath(f"there is nothing at {shown}; /api/v1/openapi.json lists every path"))
    headers = {"Allow": ", ".join(allowed)}
    if scope["method"] == "OPTIONS":
        return Response(status_code=204, headers=headers)
    error = MethodNotAllowed(f"{scope['method'][:20]} is not possible at {shown}; use {headers['Allow']}")
    return problem(scope, error, headers)


def _framework(scope: Scope, error: HTTPException) -> Response:
    if error.status_code in (404, 405):
        return no_route(scope)
    if isinstance(error.__cause__, PlatformError):
        return problem(scope, error.__cause__)  # FastAPI wraps what reading the body raises
    if isinstance(error.__cause__, RecursionError):
        return problem(scope, too_deep())
    refused = Refused(str(error.detail))
    title = HTTPStatus(error.status_code).phrase
    document = {**refused.as_problem(), "status": error.status_code, "title": title}
    return problem_document(scope, document, error.headers or {})


def too_deep() -> MalformedBody:
    """The body nests deeper than anything we read."""
    return MalformedBody("the JSON is nested too deeply to be read; flatten it")


def body_model_of(route: object) -> type[BaseModel] | None:
    """The pydantic class of a route's body, where it has one, also of one that may be left out."""
    field = getattr(route, "body_field", None)
    annotation = getattr(getattr(field, "field_info", None), "annotation", None)
    return model_in(annotation)


async def _on_platform_error(request: Request, error: Exception) -> Response:
    return problem(request.scope, cast(PlatformError, error))


async def _on_framework_error(request: Request, error: Exception) -> Response:
    return _framework(request.scope, cast(HTTPException, error))


async def _on_invalid_request(request: Request, error: Exception) -> Response:
    found: Sequence[Any] = cast(RequestValidationError, error).errors()
    return problem(request.scope, rejection(found, body_model_of(request.scope.get("route"))))


async def _on_depth(request: Request, error: Exception) -> Response:
    return problem(request.scope, too_deep())


def install(app: FastAPI) -> None:
    """Give the app our renderers."""
    app.add_exception_handler(PlatformError, _on_platform_error)
    app.add_exception_handler(HTTPException, _on_framework_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(RecursionError, _on_depth)
