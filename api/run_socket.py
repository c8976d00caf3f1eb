"""A run's events over a WebSocket (RFC 6455), for pages that show them live: a JSON message for each.

A browser sends no header of ours with it: the token may stand in the query. And it lets any page connect to anywhere:
pages of other sites are refused, also with a token.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from urllib.parse import urlsplit

from fastapi import WebSocket
from starlette.websockets import WebSocketDisconnect, WebSocketState

from api.auth import ForeignOrigin, host_name
from api.dependencies import Context
from api.errors import problem
from api.links import Links
from api.run_streams import LAST, News, run_news
from core.errors import Forbidden, PlatformError, Unauthenticated
from state.jobtables import Run
from state.operations import Who

log = logging.getLogger(__name__)

Find = Callable[[Context, Who], Awaitable[Run]]
DONE, GOING_AWAY, POLICY, FAILED = 1000, 1001, 1008, 1011
LOOK_S = 2.0  # how long a silent stream outlives what the snapshot of tokens says


async def serve_socket(websocket: WebSocket, find: Find) -> None:
    """Tell what happens to a run until it has ended, its reader goes away or is admitted no more."""
    context: Context = websocket.app.state.context
    try:
        check_origin(websocket, context)
        headers = _headers(websocket)
        run = await find(context, await context.authenticator.admit(headers))
    except PlatformError as error:
        await websocket.send_denial_response(problem(websocket.scope, error))
        return
    await websocket.accept()
    base = (context.settings.public_url or str(websocket.base_url).replace("ws", "http", 1)).rstrip("/")
    telling = asyncio.create_task(_tell(websocket, context, run.id, Links(base)), name="run socket")
    hearing = asyncio.create_task(_until_gone(websocket), name="run socket's reader")
    admitted = asyncio.create_task(_while_admitted(context, headers), name="run socket's token")
    tasks = (telling, hearing, admitted)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        has_left = hearing.done()
        code = POLICY if admitted.done() else _code(telling)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if websocket.application_state is WebSocketState.CONNECTED and not has_left:
        with suppress(RuntimeError, WebSocketDisconnect):
            await websocket.close(code)


def _code(telling: asyncio.Task[bool]) -> int:
    """Why it ends: a reader that is told DONE does not come again."""
    if not telling.done() or telling.cancelled():
        return GOING_AWAY
    error = telling.exception()
    if error is None:
        return DONE if telling.result() else GOING_AWAY
    if isinstance(error, WebSocketDisconnect):
        return GOING_AWAY
    is_bug = not isinstance(error, PlatformError)
    log.warning("a run cannot be told over a WebSocket any more: %s", error, exc_info=error if is_bug else None)
    return FAILED


def check_origin(websocket: WebSocket, context: Context) -> None:
    """Raises `ForeignOrigin` for pages of another site than this API's, unless CORS admits them."""
    origin = websocket.headers.get("origin")
    if origin is None:
        return
    allowed = context.settings.cors_origins
    if "*" in allowed or origin.lower() in allowed:
        return
    own = websocket.headers.get("host", "")
    if host_name(own) == "" or urlsplit(origin).netloc.lower() != own.lower():
        raise ForeignOrigin(f"pages of the origin '{origin[:100]}' may not listen here (PORTSIDE_CORS_ORIGINS)")


def _headers(websocket: WebSocket) -> list[tuple[bytes, bytes]]:
    """Those of the request; a token of the query stands where it would be sent."""
    headers = list(websocket.headers.raw)
    token = websocket.query_params.get("token")
    if token and "authorization" not in websocket.headers:
        headers.append((b"authorization", f"Bearer {token}".encode("latin-1", "replace")))
    return headers


async def _tell(websocket: WebSocket, context: Context, run_id: str, links: Links) -> bool:
    """Tell all there is to tell; whether the run has ended, else it is gone or this process ends."""
    news = News(0)
    async for news in run_news(context, run_id, 0, links):
        if news.name:
            message = {"type": news.name, "sequence": news.sequence, "data": news.document}
            await websocket.send_text(json.dumps(message, ensure_ascii=False))
    return news.name == LAST


async def _until_gone(websocket: WebSocket) -> None:
    """What a reader says is not heard."""
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass


async def _while_admitted(context: Context, headers: list[tuple[bytes, bytes]]) -> None:
    with suppress(Unauthenticated, Forbidden):
        while True:
            await asyncio.sleep(LOOK_S)
            context.authenticator.authenticate(headers)
