"""What the short way must not cost: turns of replicas, memory, time, attempts."""

import asyncio
import gc
from pathlib import Path

from starlette.responses import PlainTextResponse

from api.gateway.connection import ConnectionPool
from api.gateway.holding import Holding
from api.gateway.relay import Relay
from api.gateway.split import Gateway
from api.gateway.table import RoutingTable
from state.database import Database
from state.migrate import DEFAULT_TENANT
from tests.api.gateway.ports import at_a_port, request
from tests.api.gateway.replicas import replica
from tests.api.gateway.test_gateway import serve_iris
from tests.api.gateway.test_short import PREDICT, world


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
        kept = [relay for relay in gc.get_objects() if isinstance(relay, Relay)]
        assert here.port.long == []
        assert [(relay.body, relay._pieces) for relay in kept] == [(b"", [])]
        writer.close()
