"""What the short way must not cost: turns of replicas, memory, time, attempts."""

import asyncio
import gc
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from starlette.responses import PlainTextResponse

from api.gateway.connection import ConnectionPool
from api.gateway.forward import MOST_STALE
from api.gateway.holding import Holding
from api.gateway.relay import Relay
from api.gateway.split import Gateway
from api.gateway.table import RoutingTable
from state.database import Database
from state.migrate import DEFAULT_TENANT
from tests.api.gateway.ports import at_a_port, request
from tests.api.gateway.replicas import Seen, ok, replica
from tests.api.gateway.test_gateway import serve_iris, until
from tests.api.gateway.test_short import PREDICT, never, world


def gateway_of(table: RoutingTable, pool: ConnectionPool) -> Gateway:
    return Gateway(PlainTextResponse(""), Holding(table, 0), pool, lambda scope: DEFAULT_TENANT, 5_000_000, "9.9")


async def test_idle_replicas_have_their_turns_and_soon_all_goes_the_short_way(
    database: Database, table: RoutingTable, tmp_path: Path
) -> None:
    pool = ConnectionPool()
    async with (
        replica(tmp_path, "a.sock") as one,
        replica(tmp_path, "b.sock") as two,
        at_a_port(gateway_of(table, pool)) as port,
    ):
        await serve_iris(database, table, one, two)
        for _ in range(20):
            assert (await port.say(request(PREDICT, last=True))).startswith(b"HTTP/1.1 200")
    pool.close()
    assert (len(one.seen), len(two.seen), len(port.long)) == (10, 10, 2)  # the first of each opens a connection


async def test_a_connection_that_rests_keeps_nothing_of_its_last_body(
    database: Database, table: RoutingTable, tmp_path: Path
) -> None:
    async with world(database, table, tmp_path) as here:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port.number)
        writer.write(request(PREDICT, b"x" * 500_000))
        await reader.readuntil(b'{"outputs":1}')
        kept = [relay for relay in gc.get_objects() if isinstance(relay, Relay)]  # those of earlier tests, too
        writer.close()
        assert here.port.long == []
        assert kept
        assert [relay for relay in kept if relay.body or relay._pieces] == []


async def test_the_long_way_has_no_more_time_than_was_left(
    database: Database, table: RoutingTable, tmp_path: Path
) -> None:
    async def break_off_late(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if len(here.one.seen) > 2:
            await asyncio.Event().wait()
        await asyncio.sleep(0.3)
        writer.close()

    async with world(database, table, tmp_path, break_off_late) as here:
        began = time.monotonic()
        answer = await here.port.say(request(PREDICT, b"{}", "Portside-Timeout: 500ms", last=True))
        took_s = time.monotonic() - began
    assert answer.startswith(b"HTTP/1.1 504")
    assert (here.port.long, len(here.one.seen)) == ([PREDICT], 3)
    assert 0.45 < took_s < 0.75


async def test_a_request_that_ends_replicas_ends_no_more_of_them_by_the_short_way(
    database: Database, table: RoutingTable, tmp_path: Path
) -> None:
    async def unless_poisoned(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if seen.body == b"poison":
            writer.close()
        else:
            await ok(seen, writer)

    pool = ConnectionPool()
    async with AsyncExitStack() as stack:
        some = [await stack.enter_async_context(replica(tmp_path, f"{n}.sock", unless_poisoned)) for n in range(5)]
        port = await stack.enter_async_context(at_a_port(gateway_of(table, pool)))
        await serve_iris(database, table, *some)
        for _ in some:
            assert (await port.say(request(PREDICT, last=True))).startswith(b"HTTP/1.1 200")
        port.long.clear()
        assert (await port.say(request(PREDICT, b"poison", last=True))).startswith(b"HTTP/1.1 502")
    pool.close()
    assert port.long == [PREDICT]
    assert sum(seen.body == b"poison" for one in some for seen in one.seen) == MOST_STALE


@pytest.mark.parametrize("headers", [(), ("Origin: http://localhost",)], ids=["short", "long"])
async def test_a_replica_is_not_blamed_for_the_time_that_the_body_took(
    database: Database, table: RoutingTable, tmp_path: Path, headers: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.gateway.outliers.TELLING_S", 0.25)  # a figure, not a function
    async with world(database, table, tmp_path, never) as here:
        whole = request(PREDICT, b"abcd", "Portside-Timeout: 300ms", *headers, last=True)
        assert (await here.port.say(whole[:-2], whole[-2:], pause_s=0.15)).startswith(b"HTTP/1.1 504")
        assert (here.port.long, here.backend.record.faults) == ([PREDICT] * len(headers), 0)


async def test_who_does_not_read_keeps_no_connection_beyond_the_deadline(
    database: Database, table: RoutingTable, tmp_path: Path
) -> None:
    async def much(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 33554432\r\n\r\n")
        for _ in range(512):
            writer.write(bytes(65536))
            await writer.drain()

    async with world(database, table, tmp_path, much) as here:
        await until(lambda: not here.port.connections)
        _, writer = await asyncio.open_connection("127.0.0.1", here.port.number, limit=1024)
        writer.write(request(PREDICT, b"{}", "Portside-Timeout: 200ms"))
        await until(lambda: len(here.port.connections) == 1)
        await until(lambda: not here.port.connections)
        assert (here.port.long, here.counted(504)) == ([], 1)
        writer.close()


@pytest.mark.parametrize("headers", [(), ("Origin: http://localhost",)], ids=["short", "long"])
@pytest.mark.parametrize(
    "status", [b"103 Early Hints", b"101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade"]
)
async def test_an_interim_answer_of_a_replica_is_none(
    database: Database, table: RoutingTable, tmp_path: Path, status: bytes, headers: tuple[str, ...]
) -> None:
    async def interim(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 %b\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}" % status)

    async with world(database, table, tmp_path, interim) as here:
        answer = await here.port.say(request(PREDICT, b"{}", *headers, last=True))
        assert answer.startswith(b"HTTP/1.1 502")
        assert b"interim answer" in answer
        assert (here.backend.outstanding, here.gateway.pool.idle_count) == (0, 0)
