"""What the gateway says itself: errors in the words of each protocol, and small JSON documents."""

import json
from collections.abc import Sequence

from starlette.types import Receive, Scope, Send

from api.gateway.connection import Header
from core.errors import PlatformError, Unavailable

JSON, PROBLEM_JSON = b"application/json", b"application/problem+json"


async def refuse(
    scope: Scope, send: Send, error: PlatformError, *, is_terse: bool, allow: str | None = None, request_id: bytes = b""
) -> None:
    """Answer an error: a problem document, or `{"error": …}` in the protocols that have it so."""
    extra = [(b"allow", allow.encode())] if allow else []
    if isinstance(error, Unavailable):
        extra.append((b"retry-after", b"%d" % error.retry_after_s))
    if error.status == 401:
        extra.append((b"www-authenticate", b"Bearer"))
    if request_id:
        extra.append((b"x-request-id", request_id))
    status = status_of(error, is_terse=is_terse)
    problem = {**error.as_problem(), "instance": scope["path"], "request_id": request_id.decode()}
    kind = JSON if is_terse else PROBLEM_JSON
    await tell(send, status, {"error": error.message} if is_terse else problem, extra, kind)


def status_of(error: PlatformError, *, is_terse: bool) -> int:
    """The status that an error is told with: clients of the inference protocols know 400 for every mistake."""
    return 400 if is_terse and error.status == 422 else error.status


class Refusal:
    """An ASGI app that answers one request with an error."""

    def __init__(self, error: PlatformError, request_id: bytes, *, is_terse: bool) -> None:
        self._error, self._request_id, self._is_terse = error, request_id, is_terse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        await refuse(scope, send, self._error, is_terse=self._is_terse, request_id=self._request_id)


async def tell_methods(send: Send, methods: Sequence[str]) -> None:
    """What may be asked of a path, as the control plane answers OPTIONS."""
    headers = [(b"allow", ", ".join(methods).encode())]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def tell(
    send: Send, status: int, document: object, extra: Sequence[Header] = (), content_type: bytes = JSON
) -> None:
    """Answer a JSON document."""
    data = json.dumps(document, ensure_ascii=False).encode()
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(data)), *extra]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": data})
