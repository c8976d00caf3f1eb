"""The node's small HTTP server, `GET /logs/{replica}?follow&tail_bytes`: how API processes elsewhere read its logs.

Only who shows the token that is derived from the platform's key is answered.
"""

import asyncio
import hmac
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs

import uvicorn

from core.errors import InvalidField, NotFound, PlatformError, Unauthenticated
from workers.node.logs import until
from workers.node.processes import bind
from workers.node.sockets import http_address
from workers.targets.base import Target

PATH = "/logs/"
MOST_TAIL_BYTES = 16 * 1024 * 1024
Message = dict[str, Any]


class NoListener(PlatformError):
    """The node's own address cannot be listened on."""

    code, title = "no_listener", "The node's address cannot be used"


class _Server(uvicorn.Server):
    """Leaves signals to the process, which other parts share."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class LogEndpoint:
    """Serves the logs that `target` reads from this machine's files."""

    def __init__(self, target: Target, token: str) -> None:
        self.address: str | None = None
        self._target, self._authorization = target, f"Bearer {token}".encode()
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    async def start(self, host: str) -> None:
        """Listen on a free port of this host. Raises `NoListener`."""
        try:
            listener = await asyncio.to_thread(bind, host)
            listener.listen()  # who comes before the server runs waits for it
        except OSError as error:
            raise NoListener(f"PORTSIDE_NODE_HOST={host} cannot be used: {error}") from error
        config = uvicorn.Config(
            self._answer,
            interface="asgi3",  # it cannot tell by itself of a method
            proxy_headers=False,
            ws="none",
            loop="none",  # it is already running
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]), name="node-http")
        self.address = http_address(host, listener.getsockname()[1])

    async def stop(self) -> None:
        """Let go of those who follow, then of the port."""
        self._stopping.set()
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving

    async def _answer(self, scope: Message, receive: Any, send: Any) -> None:  # the ASGI interface
        try:
            pieces = until(self._pieces(scope), self._gone(receive))
            first = await anext(pieces, b"")
        except PlatformError as error:
            await _send(send, error.status, b"application/json", json.dumps(error.as_problem()).encode())
            return
        await _send(send, 200, b"text/plain; charset=utf-8", first, more=True)
        async for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    def _pieces(self, scope: Message) -> AsyncIterator[bytes]:
        """What is asked for. Raises `Unauthenticated`, `NotFound` and `InvalidField`."""
        given = dict(scope["headers"]).get(b"authorization", b"")
        if not hmac.compare_digest(given, self._authorization):
            raise Unauthenticated("the node answers the API of its own installation only")
        path: str = scope["path"]
        if scope["method"] != "GET" or not path.startswith(PATH):
            raise NotFound(f"the node has GET {PATH}{{replica}} and nothing else")
        asked = parse_qs(scope["query_string"].decode("ascii", "replace"))
        tail = asked.get("tail_bytes", ["0"])[0]
        if not tail.isdecimal() or int(tail[:10]) > MOST_TAIL_BYTES:
            raise InvalidField(f"tail_bytes is a number up to {MOST_TAIL_BYTES}, not '{tail[:20]}'")
        return self._target.logs(path.removeprefix(PATH), follow="follow" in asked, tail_bytes=int(tail))

    async def _gone(self, receive: Any) -> None:
        """Until the reader goes away or the node stops."""
        stopping = asyncio.ensure_future(self._stopping.wait())
        left = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait({stopping, left}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            left.cancel()


async def _disconnected(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send(send: Any, status: int, kind: bytes, body: bytes, *, more: bool = False) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
    if body or not more:
        await send({"type": "http.response.body", "body": body, "more_body": more})
