"""A run's events over a WebSocket, on the app itself: who may hear them, and what the end says to who hears."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient

from api.dependencies import Context
from tests.api.jobs import FLOWERS, end_work, make_job, make_run, prepared
from tests.api.platform import DEADLINE_S, add_user

PATH = f"{FLOWERS}/runs/1/stream"
Message = Mapping[str, Any]


@pytest.fixture(autouse=True)
async def _world(context: Context, client: AsyncClient) -> None:
    await prepared(context)
    await make_job(client)
    await make_run(client)


class Socket:
    """A reader of the stream: what it was sent, one after the other."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[Message] = asyncio.Queue()
        self.said: asyncio.Queue[Message] = asyncio.Queue()
        self.said.put_nowait({"type": "websocket.connect"})

    async def next(self) -> Message:
        """The next message of ASGI."""
        async with asyncio.timeout(DEADLINE_S):
            return await self.sent.get()

    async def events(self) -> list[Message]:
        """All events until it is closed; the last one is the close."""
        found: list[Message] = []
        while (message := await self.next())["type"] == "websocket.send":
            found.append(json.loads(message["text"]))
        return [*found, message]


@asynccontextmanager
async def opened(app: FastAPI, headers: Mapping[str, str], query: str = "") -> AsyncIterator[Socket]:
    socket = Socket()
    scope = {
        "type": "websocket",
        "path": PATH,
        "raw_path": PATH.encode(),
        "query_string": query.encode(),
        "headers": [(b"host", b"localhost"), *((name.lower().encode(), headers[name].encode()) for name in headers)],
        "scheme": "ws",
        "server": ("localhost", 8000),
        "client": ("127.0.0.1", 4711),
        "root_path": "",
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}},
        "asgi": {"version": "3.0", "spec_version": "2.3"},
    }
    serving = asyncio.create_task(app(scope, socket.said.get, socket.sent.put))  # type: ignore[arg-type]  # as ASGI is
    try:
        yield socket
    finally:
        socket.said.put_nowait({"type": "websocket.disconnect", "code": 1001})
        async with asyncio.timeout(DEADLINE_S):
            await serving


async def test_the_end_of_a_run_is_told_as_the_end(app: FastAPI, context: Context, client: AsyncClient) -> None:
    async with opened(app, {}) as socket:
        assert (await socket.next())["type"] == "websocket.accept"
        await client.post(f"{FLOWERS}/runs/1:stop")
        await end_work(context, "control")
        *_, done, close = await socket.events()
    assert (done["type"], done["data"]["status"]) == ("done", "stopped")
    assert close["code"] == 1000


async def test_a_platform_that_stops_does_not_say_that_the_run_is_over(app: FastAPI, context: Context) -> None:
    async with opened(app, {}) as socket:
        assert (await socket.next())["type"] == "websocket.accept"
        assert json.loads((await socket.next())["text"])["type"] == "status"
        await context.let_go()
        *_, close = await socket.events()
    assert (close["type"], close["code"]) == ("websocket.close", 1001)


async def test_another_tenants_run_is_not_heard(app: FastAPI, context: Context) -> None:
    headers = await add_user(context, "acme", "ann")
    token = headers["Authorization"].removeprefix("Bearer ")
    for given, query in ((headers, ""), ({}, f"token={token}")):
        async with opened(app, given, query) as socket:
            refused = await socket.next()
            assert (refused["type"], refused["status"]) == ("websocket.http.response.start", 404)
