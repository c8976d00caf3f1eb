"""Replicas and logs that are reached from other machines: on TCP, and only by who knows the token."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import psutil
import pytest
from pydantic import ValidationError

from core.settings import Settings
from tests.workers.node.test_model_server import iris_file, signature  # noqa: F401  (fixtures)
from tests.workers.node.world import VAULT, World, open_world
from tests.workers.patience import WITHIN_S
from workers.node.endpoint import NoListener
from workers.node.launch import model_server
from workers.node.life import Rhythm

BODY = {"inputs": {"float_input": [5.1, 3.5, 1.4, 0.2]}}
LOCAL = "127.0.0.1"


@pytest.fixture
async def world(data: Path) -> AsyncIterator[World]:
    async with open_world(data, node_host=LOCAL) as world:
        yield world


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def test_a_model_server_answers_only_who_knows_the_token_of_its_replica(
    data: Path,
    iris_file: Path,  # noqa: F811
    signature: dict[str, object],  # noqa: F811
) -> None:
    async with open_world(data, await asyncio.to_thread(iris_file.read_bytes), node_host=LOCAL) as world:
        await world.node(Rhythm(), model_server(world.settings)).start()
        await world.target.apply(world.spec(signature=signature, cpu=1.0))
        [replica] = await world.ready(1)
        assert replica.address is not None
        assert urlsplit(replica.address).hostname == LOCAL
        process = psutil.Process(await world.pid(replica.id))
        token = VAULT.replica_token(replica.id)
        assert not any(token in argument for argument in process.cmdline())
        async with httpx2.AsyncClient(base_url=replica.address, timeout=WITHIN_S) as client:
            given: tuple[dict[str, str], ...] = (bearer(token), bearer(VAULT.replica_token("rep_other")), {})
            answers = [await client.post("/predict", json=BODY, headers=headers) for headers in given]
        assert [answer.status_code for answer in answers] == [200, 401, 401]
        assert answers[0].json()["outputs"]["label"] == "setosa"


async def test_nobody_holds_the_port_of_a_dead_replica(world: World) -> None:
    await world.node().start()
    await world.target.apply(world.spec())
    [replica] = await world.ready(1)
    psutil.Process(await world.pid(replica.id)).kill()
    await world.ended("failed")
    where = urlsplit(replica.address)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(str(where.hostname), where.port)


async def test_logs_are_read_over_http_with_the_nodes_token(world: World) -> None:
    node = world.node()
    await node.start()
    await world.target.apply(world.spec())
    [replica] = await world.ready(1)
    headers = bearer(VAULT.node_token())
    async with httpx2.AsyncClient(base_url=str(node.logs_address), headers=headers, timeout=WITHIN_S) as client:
        whole = await client.get(f"/logs/{replica.id}", params={"tail_bytes": "100000"})
        assert replica.id in whole.text
        assert len((await client.get(f"/logs/{replica.id}", params={"tail_bytes": "7"})).content) <= 7
        assert (await client.get("/logs/rep_unknown")).status_code == 404
        assert (await client.get(f"/logs/{replica.id}", params={"tail_bytes": "-1"})).status_code == 422
        assert (await client.get("/other")).status_code == 404
        assert (await client.get(f"/logs/{replica.id}", headers=bearer("wrong"))).status_code == 401


async def test_a_followed_log_ends_with_its_replica_and_holds_up_no_stop(world: World) -> None:
    node = world.node()
    await node.start()
    await world.target.apply(world.spec(replicas=2))
    gone, staying = await world.ready(2)
    headers, params = bearer(VAULT.node_token()), {"follow": "true", "tail_bytes": "100000"}
    async with httpx2.AsyncClient(base_url=str(node.logs_address), headers=headers, timeout=WITHIN_S) as client:
        first = asyncio.create_task(client.get(f"/logs/{gone.id}", params=params))
        other = asyncio.create_task(client.get(f"/logs/{staying.id}", params=params))
        psutil.Process(await world.pid(gone.id)).kill()
        assert gone.id in (await first).text
        assert not other.done()
        await node.stop(2)
        assert staying.id in (await other).text


async def test_an_address_of_another_machine_is_refused_when_the_node_starts(data: Path) -> None:
    async with open_world(data, node_host="192.0.2.1") as world:
        with pytest.raises(NoListener, match=r"192\.0\.2\.1.*set PORTSIDE_NODE_HOST"):
            await world.node().start()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "*"])
def test_an_address_that_nobody_can_reach_is_no_setting(host: str) -> None:
    with pytest.raises(ValidationError, match="no address that others can reach"):
        Settings(node_host=host)
