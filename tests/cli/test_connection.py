"""What clients do to a connection of the platform's HTTP server, byte by byte."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from uvicorn import Config, Server

from cli.connection import MAX_HEAD_BYTES, ClientConnection

GET = b"GET /x HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: localhost\r\n"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the body it got."""
    body = await Request(scope, receive).body()
    await PlainTextResponse(b"[" + body + b"]")(scope, receive, send)


# One server for all: each would take its time to stop, and longer while it lingers on what it has refused.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def port() -> AsyncIterator[int]:
    config = Config(echo, port=0, http=ClientConnection, ws="none", lifespan="off", log_config=None, access_log=False)
    server = Server(config)
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(60):
        while not server.started:
            await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await serving


async def say(port: int, *pieces: bytes, ends: bool = False, last: bytes = b"", times: int = 1) -> bytes:
    """All that is answered until the server closes; one that waits for more is left once it has said `last`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        if ends:
            writer.write_eof()
        while piece := await asyncio.wait_for(reader.read(65536), 60):
            answer += piece
            if last and answer.count(last) == times and not ends:
                writer.write_eof()
                ends = True
    except ConnectionError:
        pass
    finally:
        writer.close()
    return answer


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01\x02", b"HELLO\r\n\r\n", GET + b"X : y\r\n\r\n", GET + b"\xff:\r\n\r\n"]
)
async def test_what_is_no_http_is_answered_by_a_problem(port: int, data: bytes) -> None:
    answer = await say(port, data)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json")
    assert b'"code": "malformed_request"' in answer


async def test_requests_before_the_one_that_cannot_be_read_are_answered_first(port: int) -> None:
    answer = await say(port, (POST + b"Content-Length: 2\r\n\r\nab") * 3 + b"more than announced\r\n\r\n")
    assert (answer.count(b"[ab]"), answer.count(b"HTTP/1.1 400")) == (3, 1)
    assert b"Content-Length" in answer.rpartition(b"HTTP/1.1 400")[2]


async def test_a_chunk_that_cannot_be_read_ends_its_own_request(port: int) -> None:
    answer = await say(port, POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\nZZ\r\n")
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1 4") == 1


@pytest.mark.parametrize("data", [GET[:10], POST, POST + b"Content-Length: 9\r\n\r\nabc"])
async def test_a_request_that_ends_too_early_is_told_so(port: int, data: bytes) -> None:
    answer = await say(port, data, ends=True)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b'"code": "incomplete_body"' in answer


async def test_a_head_without_end_is_refused_before_it_is_kept(port: int) -> None:
    whole = GET + b"X: " + b"y" * (MAX_HEAD_BYTES + 1) + b"\r\n\r\n"
    assert (await say(port, whole)).startswith(b"HTTP/1.1 431")
    assert (await say(port, GET + b"X: ", *[b"y" * 100_000] * 10)).startswith(b"HTTP/1.1 431")
    large = GET + b"X: " + b"y" * (MAX_HEAD_BYTES // 2) + b"\r\n\r\n"
    assert (await say(port, large, last=b"[]")).startswith(b"HTTP/1.1 200")


async def test_a_head_that_stalls_is_given_up(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.connection.HEAD_S", 0.3)  # a figure, not a function; we need some of it ourselves
    assert (await say(port, GET[:10])).startswith(b"HTTP/1.1 408")
    assert (await say(port, GET + b"\r\n", GET[:10])).count(b"HTTP/1.1 408") == 1
    assert await say(port) == b""


@pytest.mark.parametrize("offer", [b"h2c", b"websocket"])
async def test_an_offer_to_upgrade_loses_no_body(port: int, offer: bytes) -> None:
    request = POST + b"Connection: Upgrade\r\nUpgrade: " + offer + b"\r\nContent-Length: 3\r\n\r\nabc"
    for pieces in ([request], [request[:-2], request[-2:]], [request[:60], request[60:]]):
        answer = await say(port, *pieces, last=b"[abc]")
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b"[abc]")
    assert (await say(port, request * 2, last=b"[abc]", times=2)).count(b"[abc]") == 2
