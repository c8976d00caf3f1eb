"""`:restart` of one replica: it is named to the workers, and only what runs in a service that runs can be named."""

import pytest
from httpx2 import AsyncClient

from api.dependencies import Context
from state.advance import advance, lock
from state.history import By
from state.queries.operations import find
from state.queries.services import find_service
from state.tables import Operation, Replica
from tests.api.catalogue import add_ready_versions, add_replica, is_running, running_service
from tests.api.iris import IRIS, has_failed, shown
from tests.api.platform import LOCAL, add_user, is_problem, work_on

NODE = By("node")


@pytest.fixture
async def replica(client: AsyncClient, context: Context) -> Replica:
    """One of the service `iris`, which runs."""
    await add_ready_versions(context, 1)
    await running_service(client, context, replicas=2)
    async with context.database.write() as session:
        return await add_replica(session, await find_service(session, LOCAL.tenant_id, "iris"))


async def found(context: Context, operation_id: str) -> Operation:
    async with context.database.read() as session:
        return await find(session, LOCAL.tenant_id, operation_id)


async def test_a_replica_is_replaced_by_an_operation_of_its_service(
    client: AsyncClient, context: Context, replica: Replica
) -> None:
    answer = await client.post(f"{IRIS}/replicas/{replica.id}:restart")
    assert (answer.status_code, answer.json()["kind"]) == (202, "service.restart")
    assert answer.json()["target"]["name"] == "iris"
    assert (await found(context, answer.json()["id"])).arguments == {"replica": replica.id}
    assert (await shown(client)).status == "updating"
    problem = is_problem(await client.post(f"{IRIS}/replicas/{replica.id}:restart"), 409, "illegal_move")
    assert problem["operation"] == f"/api/v1/operations/{answer.json()['id']}"
    await work_on(context, is_running)
    found_service = await shown(client)
    assert (found_service.status, found_service.revision, found_service.replicas) == ("running", 1, 2)


async def test_a_replica_restart_that_fails_degrades_its_service(
    client: AsyncClient, context: Context, replica: Replica
) -> None:
    await client.post(f"{IRIS}/replicas/{replica.id}:restart")
    await work_on(context, has_failed)
    assert (await shown(client)).status == "degraded"


async def test_a_resize_meanwhile_replaces_that_replica_and_no_other(
    client: AsyncClient, context: Context, replica: Replica
) -> None:
    await client.post(f"{IRIS}/replicas/{replica.id}:restart")
    resized = (await client.patch(IRIS, json={"replicas": 3})).json()
    assert resized["kind"] == "service.restart"
    assert (await found(context, resized["id"])).arguments == {"replica": replica.id}


async def test_only_what_runs_can_be_replaced(client: AsyncClient, context: Context, replica: Replica) -> None:
    is_problem(await client.post(f"{IRIS}/replicas/rep_x:restart"), 404, "not_found")
    stale = {"if-match": '"99"'}
    is_problem(await client.post(f"{IRIS}/replicas/{replica.id}:restart", headers=stale), 412, "stale_etag")
    for move in ("stop", "stopped"):
        async with context.database.write() as session:
            await advance(session, await lock(session, Replica, replica.id), move, NODE)
        problem = is_problem(await client.post(f"{IRIS}/replicas/{replica.id}:restart"), 409, "illegal_move")
        assert problem["current_status"] == ("stopping" if move == "stop" else "stopped")
        assert f"{IRIS}/replicas?status.in=" in str(problem["detail"])
    assert (await shown(client)).generation == 1


async def test_a_replica_belongs_to_its_service_and_its_tenant(
    client: AsyncClient, context: Context, replica: Replica
) -> None:
    await running_service(client, context, "other")
    is_problem(await client.post(f"/api/v1/services/other/replicas/{replica.id}:restart"), 404, "not_found")
    other = await add_user(context, "acme", "eve")
    is_problem(await client.post(f"{IRIS}/replicas/{replica.id}:restart", headers=other), 404, "not_found")
    assert (await shown(client)).status == "running"
