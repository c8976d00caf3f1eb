"""Replicas on other machines: reached over TCP, each with a token of its own."""

import asyncio
from pathlib import Path

from api.gateway.table import RoutingTable
from state.database import Database
from tests.api.gateway.ports import PATIENCE_S
from tests.api.gateway.replicas import Seen, ok, replica
from tests.api.gateway.test_gateway import client_of, make_replica, make_service

RUNNING = ["deploy", "ready"]
PATH = "/api/v1/services/iris/predict"


async def until_routed(table: RoutingTable, count: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while table.counts[1] != count:
            await asyncio.sleep(0.01)


async def refuse(seen: Seen, writer: asyncio.StreamWriter) -> None:
    """As the replica of another service does that has got the port."""
    writer.write(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n")


async def test_each_request_shows_the_replicas_own_token_and_nothing_of_the_client(
    database: Database,
    table: RoutingTable,
    tmp_path: Path,
) -> None:
    service = await make_service(database, RUNNING)
    async with replica(tmp_path, over_tcp=True) as backend, client_of(table) as client:
        row = await make_replica(database, service, backend.address)
        await until_routed(table, 1)
        for _ in range(2):
            answer = await client.post(PATH, json={}, headers={"cookie": "a=b", "proxy-authorization": "Basic forged"})
            assert answer.json() == {"outputs": 1}
        assert backend.connections == 1
        shown = [seen.headers["authorization"] for seen in backend.seen]
        assert shown == [f"Bearer token-{row.id}"] * 2
        assert not any({"cookie", "proxy-authorization"} & seen.headers.keys() for seen in backend.seen)


async def test_a_request_is_tried_elsewhere_when_another_replica_has_got_the_port(
    database: Database,
    table: RoutingTable,
    tmp_path: Path,
) -> None:
    service = await make_service(database, RUNNING)
    async with (
        replica(tmp_path, answer=refuse, over_tcp=True) as stranger,
        replica(tmp_path, answer=ok, over_tcp=True) as right,
        client_of(table) as client,
    ):
        for each in (stranger, right):
            await make_replica(database, service, each.address)
        await until_routed(table, 2)
        answers = await asyncio.gather(*(client.post(PATH, json={}) for _ in range(6)))
        assert [answer.status_code for answer in answers] == [200] * 6
        assert len(right.seen) == 6
        assert stranger.seen


async def test_a_service_whose_only_address_is_somebody_elses_is_unavailable(
    database: Database,
    table: RoutingTable,
    tmp_path: Path,
) -> None:
    service = await make_service(database, RUNNING)
    async with replica(tmp_path, answer=refuse, over_tcp=True) as stranger, client_of(table) as client:
        await make_replica(database, service, stranger.address)
        await until_routed(table, 1)
        answer = await client.post(PATH, json={})
        assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable")
