"""How many predictions of one service may be under way, and what becomes of one more."""

import asyncio
from contextlib import closing
from pathlib import Path

import httpx2
import pytest
from starlette.responses import PlainTextResponse

from api.gateway.connection import ConnectionPool
from api.gateway.holding import Holding
from api.gateway.split import Gateway
from api.gateway.table import RoutingTable
from api.gateway.turns import TooBusy, Turns
from state.database import Database
from state.migrate import DEFAULT_TENANT
from tests.api.gateway.ports import PATIENCE_S, at_a_port
from tests.api.gateway.replicas import Seen, ok, replica
from tests.api.gateway.test_gateway import serve_iris, until

PREDICT = "/api/v1/services/iris/predict"


async def hold(turns: Turns, released: asyncio.Event, service: str = "svc_1") -> None:
    async with turns.turn(service, "iris"):
        await released.wait()


async def test_a_turn_is_waited_for_and_goes_to_who_waits_longest() -> None:
    turns, order, released = Turns(1, 30), [], asyncio.Event()

    async def take(number: int) -> None:
        async with turns.turn("svc_1", "iris"):
            order.append(number)

    holding = asyncio.create_task(hold(turns, released))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(take(1))
    await asyncio.sleep(0)
    assert not turns.take_now("svc_1")
    assert turns.take_now("svc_2")  # another service's turns are its own
    released.set()
    await asyncio.gather(holding, waiting)
    await take(2)
    assert order == [1, 2]


async def test_a_line_has_an_end_and_nobody_waits_for_long() -> None:
    turns, released = Turns(2, 0.05), asyncio.Event()
    tasks = [asyncio.create_task(hold(turns, released)) for _ in range(4)]
    await asyncio.sleep(0)
    with pytest.raises(TooBusy, match="as many wait"):
        await turns.turn("svc_1", "iris").__aenter__()
    late = await asyncio.gather(*tasks[2:], return_exceptions=True)
    assert [type(each) for each in late] == [TooBusy] * 2
    released.set()
    await asyncio.gather(*tasks[:2])
    assert all(turns.take_now("svc_1") for _ in range(2))


async def test_who_leaves_the_line_takes_no_turn_along() -> None:
    turns, released = Turns(1, 30), asyncio.Event()
    holding = asyncio.create_task(hold(turns, released))
    await asyncio.sleep(0)
    leaving = asyncio.create_task(hold(turns, released))
    handed = asyncio.create_task(hold(turns, asyncio.Event()))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    released.set()
    await holding
    handed.cancel()  # while the turn is on its way to it
    await asyncio.gather(handed, return_exceptions=True)
    assert turns.take_now("svc_1")


async def test_over_the_limit_a_prediction_waits_and_is_then_refused_with_a_time_to_come_back(
    database: Database, table: RoutingTable, tmp_path: Path
) -> None:
    released = asyncio.Event()

    async def when_released(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await released.wait()
        await ok(seen, writer)

    holding, pool = Holding(table, 0, turns=Turns(2, 0.05)), ConnectionPool()
    gateway = Gateway(PlainTextResponse("the api"), holding, pool, lambda scope: DEFAULT_TENANT, 1000, "9.9")
    with closing(pool):
        async with (
            replica(tmp_path, answer=when_released) as one,
            at_a_port(gateway) as port,
            httpx2.AsyncClient(
                base_url=f"http://localhost:{port.number}", trust_env=False, timeout=PATIENCE_S
            ) as client,
        ):
            await serve_iris(database, table, one)
            first = [asyncio.create_task(client.post(PREDICT, json={})) for _ in range(2)]
            await until(lambda: len(one.seen) == 2)
            refused = await client.post(PREDICT, json={})
            terse = await client.post("/v2/models/iris/infer", json={})
            released.set()
            answered = await asyncio.gather(*first)
            again = await client.post(PREDICT, json={})
    assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (503, "service_busy", "1")
    assert (terse.status_code, list(terse.json())) == (503, ["error"])
    assert [answer.status_code for answer in (*answered, again)] == [200] * 3
