"""What the short way must not cost: turns of replicas, memory, time, attempts."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
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
from tests.api.gateway.ports import Port, at_a_port, request
from tests.api.gateway.replicas import Seen, ok, replica
from tests.api.gateway.test_gateway import serve_iris, until
from tests.api.gateway.test_short import PREDICT, never, world

# What must come in time is tried with more of it each time: a busy machine may let any one limit pass, and what is
# wrong takes longer than whatever limit it has.
LIMITS_S = (0.5, 2.0, 8.0, 32.0)


@asynccontextmanager
async def gateway_of(table: RoutingTable) -> AsyncIterator[Port]:
    """One at a port."""
    with closing(ConnectionPool()) as pool:
        holding, api = Holding(table, 0), PlainTextResponse("")
        gateway = Gateway(api, holding, pool, lambda scope: DEFAULT_TENANT, 5_000_000, "9.9")
        async with at_a_port(gateway) as port:
            yield port


async def test_idle_replicas_have_their_turns_and_soon_all_goes_the_short_way(
    database: Database, table: RoutingTable, tmp_path: Path
) -> None:
    async with (
        replica(tmp_path, "a.sock") as one,
        replica(tmp_path, "b.sock") as two,
        gateway_of(table) as port,
    ):
        await serve_iris(database, table, one, two)
        for _ in range(20):
            assert (await port.say(request(PREDICT, last=True))).startswith(b"HTTP/1.1 200")
    assert (len(one.seen), len(two.seen), len(port.long)) == (10, 10, 2)  # the first of each opens a connection


async def test_a_connection_that_rests_keeps_nothing_of_its_last_body(
    database: Database, table: RoutingTable, tmp_path: Path
) -> None:
    async with world(database, table, tmp_path) as here:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port.number)
        writer.write(request(PREDICT, b"x" * 500_000))
        await reader.readuntil(b'{"outputs":1}')
        mine = [relay for relay in gc.get_objects() if isinstance(relay, Relay)]
        kept = [relay for relay in mine if relay._client in here.port.connections]
        writer.close()
        assert here.port.long == []
        assert kept
        assert [relay for relay in kept if relay.body or relay._pieces] == []


async def test_the_long_way_has_no_more_time_than_was_left(
    database: Database, table: RoutingTable, tmp_path: Path
) -> None:
    broke_off: list[float] = []

    async def break_off_late(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if seen.body == b"warm":
            await ok(seen, writer)
            return
        if not broke_off:
            await asyncio.sleep(0.6 * limit_s)
            broke_off.append(time.monotonic())
            writer.close()
        await asyncio.Event().wait()

    async with world(database, table, tmp_path, break_off_late) as here:
        for limit_s in LIMITS_S:
            await here.port.say(request(PREDICT, b"warm", last=True))
            here.port.long.clear()
            broke_off.clear()
            before = len(here.one.seen)
            limit = f"Portside-Timeout: {1000 * limit_s:g}ms"
            assert (await here.port.say(request(PREDICT, b"{}", limit, last=True))).startswith(b"HTTP/1.1 504")
            took_s = time.monotonic() - broke_off[0] if broke_off else limit_s
            if is_met := len(here.one.seen) == before + 2 and took_s < limit_s:
                break
        assert is_met
        assert here.port.long == [PREDICT]


async def test_a_request_that_ends_replicas_ends_no_more_of_them_by_the_short_way(
    database: Database, table: RoutingTable, tmp_path: Path
) -> None:
    async def unless_poisoned(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if seen.body == b"poison":
            writer.close()
        else:
            await ok(seen, writer)

    async with AsyncExitStack() as stack:
        some = [await stack.enter_async_context(replica(tmp_path, f"{n}.sock", unless_poisoned)) for n in range(5)]
        port = await stack.enter_async_context(gateway_of(table))
        await serve_iris(database, table, *some)
        for _ in some:
            assert (await port.say(request(PREDICT, last=True))).startswith(b"HTTP/1.1 200")
        port.long.clear()
        assert (await port.say(request(PREDICT, b"poison", last=True))).startswith(b"HTTP/1.1 502")
    assert port.long == [PREDICT]
    assert sum(seen.body == b"poison" for one in some for seen in one.seen) == MOST_STALE


@pytest.mark.parametrize("headers", [(), ("Origin: http://localhost",)], ids=["short", "long"])
async def test_a_replica_is_not_blamed_for_the_time_that_the_body_took(
    database: Database, table: RoutingTable, tmp_path: Path, headers: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unless_warm(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await (ok if seen.body == b"warm" else never)(seen, writer)

    async with world(database, table, tmp_path, unless_warm) as here:
        for limit_s in LIMITS_S:
            await here.port.say(request(PREDICT, b"warm", last=True))
            here.port.long.clear()
            monkeypatch.setattr("api.gateway.outliers.TELLING_S", 0.85 * limit_s)  # a figure, not a function
            whole = request(PREDICT, b"abcd", f"Portside-Timeout: {1000 * limit_s:g}ms", *headers, last=True)
            answer = await here.port.say(whole[:-2], whole[-2:], pause_s=0.5 * limit_s)
            if (answer[:12], here.backend.record.faults) == (b"HTTP/1.1 504", 0):
                break
        assert answer.startswith(b"HTTP/1.1 504")
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
        with closing(writer):
            # Where not even the head came in time it is refused, and the connection closed as the last one is.
            writer.write(request(PREDICT, b"{}", "Portside-Timeout: 200ms", last=True))
            await until(lambda: len(here.port.connections) == 1)
            await until(lambda: not here.port.connections)
            assert (here.port.long, here.counted(504)) == ([], 1)


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
