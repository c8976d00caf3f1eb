"""Requests that come in pieces, on connections that have the compiled way before them."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from serving.application import ModelServer
from serving.connection import Connection
from serving.messages import ResponseEncoder
from serving.native.library import Library
from serving.native.way import QuickWay
from serving.parts.loading import load_parts
from tests.serving.native.both_ways import IDENTITY, MOST_BODY_BYTES, request
from tests.serving.wire import DEADLINE_S, Wire, connect

BODY = json.dumps({"inputs": {"float_input": [5.1, 3.5, 1.4, 0.2]}}).encode()
WHOLE = request(BODY)
HEAD = WHOLE[: -len(BODY)]
Connect = Callable[[], Awaitable[Wire]]


@pytest.fixture
def connections() -> set[Connection]:
    """The server's ends."""
    return set()


@pytest.fixture
async def connected(
    library: Library,
    repository_root: Path,
    tmp_path_factory: pytest.TempPathFactory,
    connections: set[Connection],
) -> AsyncIterator[Connect]:
    """A server of the iris example as `python -m serving` makes it, on a unix socket."""
    loaded = load_parts(repository_root / "examples" / "iris.onnx", None, IDENTITY, 1)
    way = QuickWay(library)
    application = ModelServer(IDENTITY, None, 1, quick=way)
    application.serve(loaded.default.scorer, 0.0)
    encoder, path = ResponseEncoder(), tmp_path_factory.mktemp("s") / "s"

    def connection() -> Connection:
        return Connection(application, encoder, MOST_BODY_BYTES, connections, application.room, way.answer)

    server = await asyncio.get_running_loop().create_unix_server(connection, str(path))
    wires: list[Wire] = []

    async def one_more() -> Wire:
        wires.append(await connect(path))
        return wires[-1]

    yield one_more
    server.close()
    await asyncio.gather(*(wire.end() for wire in wires), *(connection.closed for connection in connections))


async def settled(wire: Wire) -> None:
    """Let the server read what was sent."""
    await wire.writer.drain()
    for _ in range(5):
        await asyncio.sleep(0.002)


async def test_a_body_may_come_behind_its_head(connected: Connect) -> None:
    wire = await connected()
    for _ in range(3):
        wire.send(HEAD)
        await settled(wire)
        wire.send(BODY)
        assert (await wire.reply()).json["outputs"]["label"] == "setosa"


async def test_a_request_may_come_byte_by_byte(connected: Connect) -> None:
    wire = await connected()
    for byte in WHOLE:
        wire.send(bytes([byte]))
        await wire.writer.drain()
        await asyncio.sleep(0)
    assert (await wire.reply()).status == 200


async def test_what_comes_behind_a_request_that_was_waited_for_is_answered_in_its_turn(connected: Connect) -> None:
    wire = await connected()
    wire.send(HEAD + BODY[:5])
    await settled(wire)
    wire.send(BODY[5:] + WHOLE + request(b"", b"/healthz") + WHOLE)
    assert [(await wire.reply()).status for _ in range(4)] == [200, 200, 405, 200]


async def test_a_request_that_was_waited_for_is_answered_before_the_end(
    connected: Connect, connections: set[Connection]
) -> None:
    wire = await connected()
    wire.send(HEAD + BODY[:5])
    await settled(wire)
    (connection,) = connections
    connection.drain()
    wire.send(BODY[5:])
    reply = await wire.reply()
    assert (reply.status, reply.headers["connection"]) == (200, "close")
    assert await wire.is_closed()


async def test_a_body_that_does_not_come_is_timed_out(connected: Connect, connections: set[Connection]) -> None:
    wire = await connected()
    wire.send(HEAD)
    await settled(wire)
    (connection,) = connections
    now = asyncio.get_running_loop().time()
    connection.expire(now + 5, 30, 600)  # looks at what was waited for
    connection.expire(now + 60, 30, 600)
    assert (await wire.reply()).status == 408


async def test_a_client_that_leaves_in_between_is_forgotten(connected: Connect, connections: set[Connection]) -> None:
    wire = await connected()
    wire.send(HEAD)
    await settled(wire)
    wire.close()
    async with asyncio.timeout(DEADLINE_S):
        while connections:
            await asyncio.sleep(0.01)
