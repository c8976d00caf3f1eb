"""A prediction that meets a service between two replicas waits for the next one, and not for ever."""

import asyncio
from pathlib import Path

from api.gateway.table import RoutingTable
from state.advance import advance
from state.database import Database
from state.migrate import DEFAULT_TENANT
from tests.api.gateway.ports import request
from tests.api.gateway.replicas import replica
from tests.api.gateway.test_gateway import (
    TEST,
    client_of,
    make_replica,
    make_service,
    port_of,
    until,
)


async def test_a_prediction_between_two_replicas_waits_for_the_next(
    database: Database,
    table: RoutingTable,
    tmp_path: Path,
) -> None:
    service = await make_service(database, ["deploy", "ready"])
    await until(lambda: table.route(DEFAULT_TENANT, "iris") is not None)
    async with replica(tmp_path) as one, client_of(table, hold_s=30) as client:
        asking = asyncio.create_task(client.post("/api/v1/services/iris/predict", json={"inputs": {}}))
        await asyncio.sleep(0.05)
        assert not asking.done()
        await make_replica(database, service, one.address)
        assert (await asking).status_code == 200
        # And one that is only known by its address, because it died a moment ago: the connection is refused.
    async with replica(tmp_path, "b.sock") as two, client_of(table, hold_s=30) as client:
        asking = asyncio.create_task(client.post("/api/v1/services/iris/predict", json={"inputs": {}}))
        await asyncio.sleep(0.05)
        await make_replica(database, service, two.address)
        assert (await asking).status_code == 200


async def test_a_prediction_waits_while_the_only_replica_known_is_dead(
    database: Database,
    table: RoutingTable,
    tmp_path: Path,
) -> None:
    """A node that was killed leaves the addresses of its replicas behind, until the next one begins."""
    service = await make_service(database, ["deploy", "ready"])
    dead = await make_replica(database, service, f"unix://{tmp_path}/dead.sock")
    await until(lambda: (route := table.route(DEFAULT_TENANT, "iris")) is not None and bool(route.backends))
    async with replica(tmp_path) as next_one, client_of(table, hold_s=30) as client:
        asking = [asyncio.create_task(client.post("/api/v1/services/iris/predict", json={})) for _ in range(20)]
        route = table.route(DEFAULT_TENANT, "iris")
        await until(lambda: route is not None and route.backends[0].refusals >= 3)  # outlives what tries again
        assert not any(task.done() for task in asking)
        async with database.write() as session:
            await advance(session, await session.merge(dead), "fail", TEST)
        await make_replica(database, service, next_one.address)
        assert {answer.status_code for answer in await asyncio.gather(*asking)} == {200}
    assert len(next_one.seen) == 20


async def test_a_prediction_is_held_no_longer_than_it_may_be(
    database: Database,
    table: RoutingTable,
) -> None:
    service = await make_service(database, ["deploy", "ready"])
    await until(lambda: table.route(DEFAULT_TENANT, "iris") is not None)
    async with client_of(table, hold_s=0.05) as client:
        assert (await client.post("/api/v1/services/iris/predict", json={})).status_code == 503
    async with client_of(table, hold_s=30) as client:
        path = "/api/v1/services/iris/predict"
        # Its body comes with its head: else, on a busy machine, it is the body that the time is over for.
        answer = await port_of(client).say(request(path, b"{}", "Portside-Timeout: 50ms", last=True))
        assert answer.startswith(b"HTTP/1.1 504")
        asking = asyncio.create_task(client.post(path, json={}))
        await asyncio.sleep(0.05)
        async with database.write() as session:
            await advance(session, await session.merge(service), "pause", TEST)
        assert (await asking).status_code == 409
