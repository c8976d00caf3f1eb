"""How an API process leaves without a failed request: first it says that it is not ready, then it closes its door.

Whoever balances between processes needs a moment to notice; until then requests keep coming and are answered, each with
`Connection: close`, so that the next one of that client goes elsewhere (RFC 9112, 9.6).
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


class Leaving:
    """An ASGI app that passes everything on; `closed` is set `leave_s` after `stop`."""

    def __init__(self, app: App, stop: asyncio.Event, leave_s: float) -> None:
        self._app, self._stop, self._leave_s = app, stop, leave_s
        self.closed = asyncio.Event()

    async def watch(self) -> None:
        """Wait for `stop`, then for those who balance to notice, then say that the door may be closed."""
        await self._stop.wait()
        await asyncio.sleep(self._leave_s)
        self.closed.set()

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """Serve one request."""
        await self._app(scope, receive, self._closing(send) if self._stop.is_set() else send)

    def _closing(self, send: Callable[[Message], Awaitable[None]]) -> Callable[[Message], Awaitable[None]]:
        async def send_and_close(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        return send_and_close
