"""A request that outlives the grace of a process that stops is told to come again; it is no error of anybody's."""

import asyncio
import json
import socket
from typing import Any

import pytest

from cli.leaving import Leaving
from cli.server import http_server, serve_until


async def answer_to(request: bytes, app: Leaving, is_under_way: asyncio.Event, stop: asyncio.Event) -> bytes:
    """All that a server answers that is stopped when it has the request, and has ended."""
    listener = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(serve_until(http_server(app, 1, ()), listener, stop, lambda: asyncio.sleep(0)))
    try:
        async with asyncio.timeout(60):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            try:
                writer.write(request)
                await is_under_way.wait()
                stop.set()
                return await reader.read()
            finally:
                writer.close()
    finally:
        stop.set()
        await serving


@pytest.mark.parametrize(("path", "member"), [("/api/v1/models", "code"), ("/v2/models/m/infer", "error")])
async def test_a_request_that_outlives_the_grace_is_answered_503(path: str, member: str) -> None:
    arrived, stop = asyncio.Event(), asyncio.Event()

    async def never(scope: Any, receive: Any, send: Any) -> None:
        arrived.set()
        await asyncio.Event().wait()

    request = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode()
    head, _, body = (await answer_to(request, Leaving(never, stop, 0), arrived, stop)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1" in head
    assert b"connection: close" in head
    assert member in json.loads(body)


async def test_a_cancelled_request_that_has_begun_to_answer_is_cut() -> None:
    begun, stop = asyncio.Event(), asyncio.Event()

    async def half(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        begun.set()
        await asyncio.Event().wait()

    request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answer = await answer_to(request, Leaving(half, stop, 0), begun, stop)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"half")
