"""An API process that is asked to stop answers until proxies have noticed, and tells each client to go elsewhere."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

from cli.leaving import Leaving

Message = MutableMapping[str, Any]


async def headers_of(app: Leaving) -> list[tuple[bytes, bytes]]:
    told: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        told.append(message)

    await app({"type": "http"}, receive, send)
    return list(told[0]["headers"])


async def answering(scope: Message, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"y")]})
    await send({"type": "http.response.body", "body": b""})


async def test_who_leaves_answers_and_says_so_and_closes_its_door_later() -> None:
    stop = asyncio.Event()
    leaving = Leaving(answering, stop, 0.02)
    watching = asyncio.create_task(leaving.watch())
    assert await headers_of(leaving) == [(b"x", b"y")]
    stop.set()
    assert await headers_of(leaving) == [(b"x", b"y"), (b"connection", b"close")]
    assert not leaving.closed.is_set()
    async with asyncio.timeout(60):
        await leaving.closed.wait()
    await watching
