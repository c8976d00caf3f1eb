"""What a gateway counts of each service and replica, in front of real replicas, and what that costs."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import select
from starlette.responses import PlainTextResponse
from starlette.types import Scope

from api.gateway.connection import ConnectionPool
from api.gateway.holding import Holding
from api.gateway.split import Gateway
from api.gateway.table import RoutingTable
from core.errors import Unauthenticated
from state.advance import advance, lock
from state.database import Database
from state.latencies import percentile
from state.migrate import DEFAULT_TENANT
from state.sampling import Traffic
from state.tables import Service
from state.traffic import TrafficCounter
from tests.api.gateway.replicas import Answer, Seen, replica
from tests.api.gateway.test_gateway import TEST, serve_iris, until

PREDICT = "/api/v1/services/iris/predict"


@asynccontextmanager
async def gateway_on(table: RoutingTable) -> AsyncIterator[tuple[Gateway, httpx2.AsyncClient]]:
    def tenant_of(scope: Scope) -> str:
        if any(name == b"authorization" for name, _ in scope["headers"]):
            raise Unauthenticated("no token is valid here")
        return DEFAULT_TENANT

    with closing(ConnectionPool()) as pool:
        gateway = Gateway(PlainTextResponse("the api"), Holding(table, 0), pool, tenant_of, 1000, "9.9")
        transport = httpx2.ASGITransport(app=gateway, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            yield gateway, client


def answering(status: int, after_s: float = 0.0) -> Answer:
    async def answer(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(after_s)
        writer.write(b"HTTP/1.1 %d X\r\ncontent-length: 2\r\n\r\n{}" % status)

    return answer


async def half(seen: Seen, writer: asyncio.StreamWriter) -> None:
    """Ends in the middle of its answer."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
    await writer.drain()
    writer.close()


async def counted(gateway: Gateway) -> Mapping[str | None, Traffic]:
    return {traffic.replica_id: traffic for traffic in await gateway.traffic.take()}


async def test_each_prediction_is_counted_once_for_the_replica_that_answered(
    database: Database, table: RoutingTable, tmp_path: Path
) -> None:
    async with (
        replica(tmp_path, "a") as one,
        replica(tmp_path, "b", answering(200, 0.02)) as two,
        gateway_on(table) as (gateway, client),
    ):
        rows = await serve_iris(database, table, one, two)
        for _ in range(5):
            await asyncio.gather(*(client.post(path, json={}) for path in (PREDICT, "/v2/models/iris/infer")))
        found = await counted(gateway)
        again = await gateway.traffic.take()
    assert {id: traffic.requests for id, traffic in found.items()} == {row.id: 5 for row in rows}
    assert {(each.service_id, each.tenant_id) for each in found.values()} == {(rows[0].service_id, DEFAULT_TENANT)}
    assert sum(each.errors + each.refused for each in found.values()) == 0
    assert all(sum(each.latency.values()) == each.requests for each in found.values())
    assert (percentile(found[rows[1].id].latency, 50) or 0) >= 0.019
    assert again == []


@pytest.mark.parametrize(
    ("answer", "errors", "refused"),
    [(answering(200), 0, 0), (answering(422), 0, 1), (answering(500), 1, 0), (half, 1, 0)],
)
async def test_errors_are_those_of_the_platform_and_refused_is_what_the_client_got_wrong(
    database: Database, table: RoutingTable, tmp_path: Path, answer: Answer, errors: int, refused: int
) -> None:
    async with replica(tmp_path, answer=answer) as one, gateway_on(table) as (gateway, client):
        (row,) = await serve_iris(database, table, one)
        try:
            await client.post(PREDICT, json={})
        except httpx2.HTTPError:
            assert answer is half
        found = (await counted(gateway))[row.id]
    assert (found.requests, found.errors, found.refused) == (1, errors, refused)


async def test_what_no_replica_answered_is_counted_for_the_service_and_has_no_latency(
    database: Database, table: RoutingTable, tmp_path: Path
) -> None:
    async with replica(tmp_path) as one, gateway_on(table) as (gateway, client):
        (row,) = await serve_iris(database, table, one)
        assert (await client.post(PREDICT, content=b"x" * 2000)).status_code == 413
        async with database.write() as session:
            service = await lock(session, Service, (await session.scalars(select(Service.id))).one())
            await advance(session, service, "pause", TEST)
        await until(lambda: (route := table.route(DEFAULT_TENANT, "iris")) is None or route.service.status == "pausing")
        assert (await client.post(PREDICT, json={})).status_code == 409
        found = await counted(gateway)
    assert found == {None: Traffic(DEFAULT_TENANT, row.service_id, None, 2, 0, 2, {})}


async def test_a_replica_that_cannot_be_reached_is_an_error_of_the_service(
    database: Database, table: RoutingTable, tmp_path: Path
) -> None:
    async with replica(tmp_path) as one, gateway_on(table) as (gateway, client):
        await serve_iris(database, table, one)
        await asyncio.to_thread(Path(one.address.removeprefix("unix://")).unlink)
        assert (await client.post(PREDICT, json={})).status_code == 503
        found = await counted(gateway)
    assert [(id, each.errors) for id, each in found.items()] == [(None, 1)]


async def test_what_is_no_prediction_of_a_service_is_not_counted(
    database: Database, table: RoutingTable, tmp_path: Path
) -> None:
    async with replica(tmp_path) as one, gateway_on(table) as (gateway, client):
        await serve_iris(database, table, one)
        for method, path, headers in (
            ("GET", PREDICT, {}),
            ("GET", "/v2/models/iris/ready", {}),
            ("POST", "/api/v1/services/nobody/predict", {}),
            ("POST", PREDICT, {"authorization": "Bearer wrong"}),
        ):
            await client.request(method, path, headers=headers)
        assert await gateway.traffic.take() == []


def test_counting_costs_a_prediction_next_to_nothing() -> None:
    traffic = TrafficCounter()
    began = time.thread_time()
    for number in range(10_000):
        traffic.count("ten_1", "svc_1", "rep_1", 200, number * 1e-6)
    assert (time.thread_time() - began) / 10_000 < 20e-6  # measured: 0.2 µs
