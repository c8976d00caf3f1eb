"""What a request is told that is still at work when a stopping process' grace is over.

uvicorn cancels it then, and answers 500 by itself; but nothing is wrong, and another process, or this one once it is
started again, can answer: 503 (RFC 9110, 15.6.4).
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.responses import JSONResponse, Response

from api.errors import problem
from api.gateway.paths import is_of_a_protocol
from core.errors import Unavailable

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class Stopping(Unavailable):
    """The process ends before the request does. Whether it has taken effect is not known here."""

    code, title = "stopping", "The server is stopping"


class Farewell:
    """An ASGI app that passes everything on, and answers what is cancelled before it was answered."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request."""
        begun = False

        async def noting(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if begun or scope["type"] != "http" or task is None:
                raise
            task.uncancel()
            await _farewell(scope)(scope, receive, send)


def stopping() -> Stopping:
    """What such a request is told."""
    return Stopping("this process is stopping; send the request again, with the same Idempotency-Key if it has one")


def _farewell(scope: Message) -> Response:
    error = stopping()
    headers = {"Connection": "close"}
    if not is_of_a_protocol(scope["path"]):
        return problem(scope, error, headers)
    headers["Retry-After"] = str(error.retry_after_s)
    return JSONResponse({"error": error.message}, error.status, headers)
