"""What clients do to a connection: the app behind a real server, spoken to by bytes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from dataclasses import replace

import pytest
import uvicorn

from api.app import build_app
from api.dependencies import Context
from state.queries.lists import View
from state.queries.webhooks import listing
from tests.api.platform import DEADLINE_S

HEAD = b"POST /api/v1/webhooks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
BODY = b'{"url": "https://example.com/"}'


@pytest.fixture
async def port(context: Context) -> AsyncIterator[int]:
    """A server on a free port that gives up on a silent body after 0.2 s."""
    app = build_app(replace(context, body_idle_s=0.2))
    config = uvicorn.Config(app, port=0, http="httptools", lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(DEADLINE_S):
        while not server.started:
            await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await serving


async def _send(port: int, data: bytes) -> bytes:
    """The whole answer, up to the end of the connection, which all that is sent here asks for."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    with closing(writer), suppress(ConnectionError):
        writer.write(data)
        async with asyncio.timeout(DEADLINE_S):
            while piece := await reader.read(65536):
                answer += piece
    return answer


async def _made(context: Context) -> int:
    async with context.database.read() as session:
        return len((await listing(session, "ten_default", View())).rows)


async def test_a_body_that_stalls_is_given_up(port: int, context: Context) -> None:
    answer = await _send(port, HEAD + b"Content-Length: 100\r\n\r\n" + BODY)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b'"code":"body_stalled"' in answer
    assert await _made(context) == 0


async def test_a_connection_that_is_cut_halfway_leaves_nothing(port: int, context: Context) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HEAD + b"Content-Length: 100\r\n\r\n" + BODY)
    await writer.drain()
    writer.transport.abort()
    assert (await _send(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).startswith(
        b"HTTP/1.1 200"
    )
    assert await _made(context) == 0


async def test_what_follows_the_announced_body_is_not_read_as_part_of_it(port: int, context: Context) -> None:
    announced = f"Content-Length: {len(BODY)}\r\n\r\n".encode()
    answer = await _send(port, HEAD + announced + BODY + b"trailing garbage\r\n\r\n")
    assert b" 500 " not in answer.split(b"\r\n")[0]
    assert await _made(context) <= 1


async def test_an_answer_to_head_has_no_body_on_the_wire(port: int) -> None:
    answer = await _send(port, b"HEAD /api/v1/me HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"\r\n\r\n")
