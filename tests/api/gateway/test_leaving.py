"""A client that does not wait for its answer."""

import asyncio
from pathlib import Path

from starlette.responses import PlainTextResponse
from starlette.types import Message

from api.gateway.connection import ConnectionPool
from api.gateway.holding import Holding
from api.gateway.split import Gateway
from api.gateway.table import RoutingTable
from state.database import Database
from state.migrate import DEFAULT_TENANT
from tests.api.gateway.ports import PATIENCE_S
from tests.api.gateway.replicas import Seen, replica
from tests.api.gateway.test_gateway import make_replica, make_service

PATH = "/api/v1/services/iris/predict"
SCOPE = {"type": "http", "method": "POST", "path": PATH, "raw_path": PATH.encode(), "headers": [], "query_string": b""}


async def test_it_frees_the_replicas_connection(
    database: Database,
    table: RoutingTable,
    tmp_path: Path,
) -> None:
    arrived, left, told = asyncio.Event(), asyncio.Event(), list[Message]()

    async def never(seen: Seen, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await asyncio.Event().wait()

    async def receive() -> Message:
        if not arrived.is_set() and not told:
            told.append({"type": "http.request", "body": b"{}", "more_body": False})
            return told[0]
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        raise AssertionError(message)  # to nobody

    gateway = Gateway(
        PlainTextResponse("the api"), Holding(table, 0), ConnectionPool(), lambda scope: DEFAULT_TENANT, 1000, "9.9"
    )
    service = await make_service(database, ["deploy", "ready"])
    async with replica(tmp_path, answer=never) as backend:
        await make_replica(database, service, backend.address)
        async with asyncio.timeout(PATIENCE_S):
            while table.counts[1] == 0:
                await asyncio.sleep(0.01)
            request = asyncio.create_task(gateway(dict(SCOPE), receive, send))
            await arrived.wait()
            left.set()
            await request
        route = table.route(DEFAULT_TENANT, "iris")
        assert route is not None
        assert [one.outstanding for one in route.backends] == [0]
        assert not route.backends[0].dropped
