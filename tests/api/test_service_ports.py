"""A port of a service's own: chosen or given, unique in the installation, kept for the service's life."""

from dataclasses import replace

import pytest
from httpx2 import ASGITransport, AsyncClient

from api.app import build_app
from api.dependencies import Context
from api.schemas.service_ports import check_port
from core.clock import now_micros
from core.errors import InvalidField
from core.secrets import hash_token, new_token
from core.settings import Settings
from state.queries.services import find_service
from state.tables import Token, User
from tests.api.catalogue import add_ready_versions, add_replica, is_running
from tests.api.platform import LOCAL, is_problem, work_on

SERVICES = "/api/v1/services"


@pytest.fixture(autouse=True)
async def versions(context: Context) -> None:
    await add_ready_versions(context, 1)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With two ports to give away."""
    return settings.model_copy(update={"service_ports": "31000-31001"})


async def deploy(client: AsyncClient, name: str, port: object) -> None:
    answer = await client.post(SERVICES, json={"name": name, "model": "iris", "port": port})
    assert answer.status_code == 202, answer.text


async def port_of(client: AsyncClient, name: str) -> int | None:
    shown = (await client.get(f"{SERVICES}/{name}")).json()["port"]
    if shown is None:
        return None
    number: int = shown["number"]
    assert shown == {"number": number, "url": f"http://localhost:{number}", "fault": None}
    return number


async def test_auto_takes_the_lowest_free_port_and_keeps_it(client: AsyncClient, context: Context) -> None:
    await deploy(client, "first", None)
    assert await port_of(client, "first") is None
    await deploy(client, "second", "auto")
    await deploy(client, "third", "auto")
    assert [await port_of(client, name) for name in ("second", "third")] == [31000, 31001]
    for change in ({"port": "auto"}, {"description": "without a word about it"}, {"replicas": 2}):
        await client.patch(f"{SERVICES}/third", json=change)
        assert await port_of(client, "third") == 31001
    problem = is_problem(await client.patch(f"{SERVICES}/first", json={"port": "auto"}), 409, "no_free_port")
    assert "PORTSIDE_SERVICE_PORTS" in str(problem["detail"])


async def test_a_port_is_one_services_until_it_gives_it_back_or_is_deleted(
    client: AsyncClient, context: Context
) -> None:
    await deploy(client, "first", 31001)
    await deploy(client, "second", None)
    for method, path, body in (
        ("PATCH", f"{SERVICES}/second", {"port": 31001}),
        ("POST", SERVICES, {"name": "third", "model": "iris", "port": 31001}),
        ("PUT", f"{SERVICES}/fourth", {"model": "iris", "port": 31001}),
    ):
        problem = is_problem(await client.request(method, path, json=body), 409, "port_taken")
        assert problem["holder"] == f"{SERVICES}/first"
    assert (await client.get(f"{SERVICES}/third")).status_code == 404
    assert (await client.patch(f"{SERVICES}/first", json={"port": None})).status_code == 200
    assert (await client.patch(f"{SERVICES}/second", json={"port": 31001})).status_code == 200
    await client.delete(f"{SERVICES}/second")
    for _ in range(2):
        await work_on(context, is_running)
    await deploy(client, "third", 31001)
    assert await port_of(client, "third") == 31001


async def test_putting_a_service_without_a_port_takes_it_away(client: AsyncClient) -> None:
    await client.put(f"{SERVICES}/iris", json={"model": "iris", "port": "auto"})
    await client.put(f"{SERVICES}/iris", json={"model": "iris", "port": "auto", "replicas": 2})
    assert await port_of(client, "iris") == 31000
    await client.put(f"{SERVICES}/iris", json={"model": "iris"})
    assert await port_of(client, "iris") is None


async def test_without_a_range_no_service_has_a_port(context: Context) -> None:
    without = replace(context, settings=context.settings.model_copy(update={"service_ports": ""}))
    async with AsyncClient(transport=ASGITransport(build_app(without)), base_url="http://localhost") as client:
        answer = await client.post(SERVICES, json={"name": "first", "model": "iris", "port": "auto"})
        assert is_problem(answer, 422, "invalid_field")["errors"] == [
            {
                "pointer": "/port",
                "detail": "services have no ports of their own here: PORTSIDE_SERVICE_PORTS is empty",
                "hint": "leave port out",
            }
        ]
        await deploy(client, "first", None)


async def test_a_ports_fault_is_shown(context: Context) -> None:
    faulty = replace(context, port_fault={31000: "it is in use"}.get)
    async with AsyncClient(transport=ASGITransport(build_app(faulty)), base_url="http://localhost") as client:
        await deploy(client, "first", "auto")
        shown = (await client.get(f"{SERVICES}/first")).json()
        assert shown["port"]["fault"] == "it is in use"


async def test_an_operator_sees_where_a_replica_listens_and_nobody_else(client: AsyncClient, context: Context) -> None:
    await deploy(client, "first", None)
    await work_on(context, is_running)
    async with context.database.write() as session:
        row = await add_replica(session, await find_service(session, LOCAL.tenant_id, "first"))
        row.address = "unix:///run/r.sock"
    shown = (await client.get(f"{SERVICES}/first/replicas")).json()["items"]
    assert [replica["address"] for replica in shown] == ["unix:///run/r.sock"]
    token = new_token()
    async with context.database.write() as session:
        common = {"tenant_id": LOCAL.tenant_id, "created_at": now_micros()}
        session.add(User(id="usr_m", name="mia", role="member", **common))
        await session.flush()
        session.add(Token(id="tok_m", user_id="usr_m", name="first", hash=hash_token(token), **common))
    await context.authenticator.refresh()
    answer = await client.get(f"{SERVICES}/first/replicas", headers={"Authorization": f"Bearer {token}"})
    assert [replica["address"] for replica in answer.json()["items"]] == [None]


def test_the_platforms_own_ports_are_nobodys() -> None:
    settings = Settings(port=31000, metrics_port=31001, service_ports="31000-31002")
    assert list(check_port("auto", settings)) == [31002]
    with pytest.raises(InvalidField, match="none of those that services may use"):
        check_port(31001, settings)
