"""Answers that stream end with the token they were asked with."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, MutableMapping
from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient
from starlette.requests import Request

from api.admission import while_admitted
from api.dependencies import Context
from state.queries.services import find_service
from tests.api.catalogue import add_ready_versions, add_replica, running_service

DEADLINE_S = 60
LOGS = b"the model is loaded\n"


async def silent_logs(replica_id: str, follow: bool, tail_bytes: int) -> AsyncGenerator[bytes, None]:
    """A log in which nothing more is written."""
    yield LOGS
    if follow:
        await asyncio.Future()


async def paths(client: AsyncClient, context: Context) -> dict[str, str]:
    """Streams of what does not end by itself here."""
    await add_ready_versions(context, 1)
    await running_service(client, context)
    prediction = (await client.post("/api/v1/services/iris/predictions", json={"inputs": {"x": 1}})).json()["id"]
    operation = (await client.post("/api/v1/services/iris:restart")).json()["id"]
    async with context.database.write() as session:
        service = await find_service(session, context.authenticator.authenticate([LOCALHOST]).tenant_id, "iris")
        replica = (await add_replica(session, service)).id
    return {
        "operation": f"/api/v1/operations/{operation}/events",
        "prediction": f"/api/v1/predictions/{prediction}/events",
        "output": f"/api/v1/predictions/{prediction}/stream",
        "events": "/api/v1/events",
        "logs": f"/api/v1/services/iris/replicas/{replica}/logs",
    }


LOCALHOST = (b"host", b"localhost")


@pytest.mark.parametrize("stream", ["operation", "prediction", "output", "events", "logs"])
async def test_a_silent_stream_ends_when_its_token_is_revoked(
    app: FastAPI, client: AsyncClient, context: Context, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.admission.LOOK_S", 0.1)  # a figure, not a function
    path = (await paths(client, context))[stream]
    token = (await client.post("/api/v1/tokens", json={"name": "reader"})).json()
    await context.authenticator.refresh()
    app.state.context = replace(context, read_logs=silent_logs)
    ended = reading(app, path, token["token"])
    async with asyncio.timeout(DEADLINE_S):
        assert await anext(ended) == 200
        assert await anext(ended)
        assert (await client.delete(f"/api/v1/tokens/{token['id']}")).status_code == 204
        assert b"" in [piece async for piece in ended]


async def reading(app: FastAPI, path: str, token: str) -> AsyncIterator[Any]:
    """The status of a streamed answer, then its pieces; the last one is empty."""
    told = asyncio.Queue[Any]()

    async def send(message: MutableMapping[str, Any]) -> None:
        told.put_nowait(message.get("status", message.get("body")))

    async def receive() -> MutableMapping[str, Any]:
        return await asyncio.Future()

    headers = [LOCALHOST, (b"authorization", f"Bearer {token}".encode()), (b"accept", b"text/event-stream")]
    scope = {"type": "http", "http_version": "1.1", "scheme": "http", "method": "GET", "headers": headers}
    query = b"follow=true" if path.endswith("logs") else b""
    answering = asyncio.ensure_future(app({**scope, "path": path, "query_string": query}, receive, send))
    while not answering.done() or not told.empty():
        getting = asyncio.ensure_future(told.get())
        await asyncio.wait([getting, answering], return_when=asyncio.FIRST_COMPLETED)
        if getting.done():
            yield getting.result()
        else:
            getting.cancel()
    await answering


async def test_what_breaks_a_stream_is_told_to_who_reads_it(context: Context) -> None:
    async def breaking() -> AsyncGenerator[bytes, None]:
        yield b"one"
        raise ValueError("the log is gone")

    request = Request({"type": "http", "headers": [LOCALHOST]})
    pieces = while_admitted(request, context, breaking())
    assert await anext(pieces) == b"one"
    with pytest.raises(ValueError, match="the log is gone"):
        await anext(pieces)


async def test_a_reader_that_goes_away_closes_what_it_read(context: Context) -> None:
    closed = asyncio.Event()

    async def endless() -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield b"again"
        finally:
            closed.set()

    pieces = while_admitted(Request({"type": "http", "headers": [LOCALHOST]}), context, endless())
    assert await anext(pieces) == b"again"
    await pieces.aclose()
    assert closed.is_set()
