"""What an operator switches off: with a reason and an end, told to who meets it, honoured by every process."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from httpx2 import ASGITransport, AsyncClient

from api.app import build_app
from api.dependencies import Context
from api.schemas.system import SwitchList, SystemShown
from api.switchboard import REFRESH_S, Switchboard
from core.clock import from_rfc3339, now_micros
from core.settings import Settings
from state.processes import Presence, Self
from state.queries.lanes import backlogs
from state.switches import SWITCHES, ReadOnly
from tests.api.catalogue import add_ready_versions, is_running, running_service
from tests.api.held import Held
from tests.api.platform import add_operation, add_user, fails, is_problem, open_context, until, work_on

V1 = "/api/v1"
SYSTEM = f"{V1}/system"
SERVICES = f"{V1}/services"


async def off(client: AsyncClient, name: str, **more: object) -> dict[str, object]:
    answer = await client.put(f"{SYSTEM}/switches/{name}", json={"reason": "a test", **more})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def on(client: AsyncClient, name: str) -> None:
    assert (await client.delete(f"{SYSTEM}/switches/{name}")).status_code == 204


async def test_all_are_on_until_somebody_switches_one_off(client: AsyncClient) -> None:
    shown = SwitchList.model_validate((await client.get(f"{SYSTEM}/switches")).json())
    assert [(item.name, item.off, item.reason) for item in shown.items] == [(name, False, None) for name in SWITCHES]


@pytest.mark.parametrize("name", list(SWITCHES))
async def test_a_switch_tells_who_why_and_until_when(client: AsyncClient, name: str) -> None:
    made = await off(client, name, expires_in_s=3600)
    assert made == (await client.get(f"{SYSTEM}/switches/{name}")).json()
    assert (made["off"], made["reason"], made["switched_by"]) == (True, "a test", "local")
    left_s = (from_rfc3339(str(made["expires_at"])) - now_micros()) / 1_000_000
    assert 3590 < left_s <= 3601
    found = (await client.get(f"{V1}/operations?kind=switch.off")).json()["items"]
    assert (found[0]["target"]["name"], found[0]["created_by"]) == (name, "local")
    assert found[0]["target"]["url"].endswith(f"/switches/{name}")
    await on(client, name)
    await on(client, name)  # it is on already
    assert not (await client.get(f"{SYSTEM}/switches/{name}")).json()["off"]


async def test_a_switch_that_is_over_is_on_by_itself(client: AsyncClient, context: Context) -> None:
    for expires_in_s in (1, 4, 16):  # until somebody meets it before it is over
        await off(client, "read_only", expires_in_s=expires_in_s)
        await context.switches.refresh()
        answer = await client.post(f"{V1}/webhooks", json={"url": "https://example.com/"})
        if answer.status_code == 503:
            break
    is_problem(answer, 503, "read_only")
    assert 1 <= int(answer.headers["retry-after"]) <= expires_in_s

    async def is_on() -> bool:
        return (await client.post(f"{V1}/webhooks", json={"url": "https://example.com/"})).status_code == 201

    await until(is_on)
    assert not (await client.get(f"{SYSTEM}/switches/read_only")).json()["off"]


async def test_a_look_that_began_before_a_change_does_not_hide_it(client: AsyncClient, context: Context) -> None:
    database = Held(context.database)
    database.hold()
    board = Switchboard(database)
    early = asyncio.create_task(board.refresh())
    await database.began.wait()
    await off(client, "read_only")
    late = asyncio.create_task(board.refresh())
    await asyncio.wait([late], timeout=0.1)
    database.goes_on.set()
    await asyncio.gather(early, late)
    with pytest.raises(ReadOnly):
        board.check("read_only")


async def test_another_process_honours_it_at_its_next_look(client: AsyncClient, settings: Settings) -> None:
    assert REFRESH_S <= 1, "two seconds are promised"
    async with (
        open_context(settings) as other,
        AsyncClient(transport=ASGITransport(build_app(other)), base_url="http://localhost") as from_there,
    ):
        await off(client, "read_only")

        async def is_refused() -> bool:
            return (await from_there.post(f"{V1}/webhooks", json={"url": "https://a.example/"})).status_code == 503

        await until(is_refused)


async def test_no_deployment_is_accepted_and_none_begins(client: AsyncClient, context: Context) -> None:
    await add_ready_versions(context, 2)
    await running_service(client, context, version=1)
    waiting = (await client.post(SERVICES, json={"name": "waits", "model": "iris"})).json()["id"]
    await off(client, "deploys", expires_in_s=600)
    asked = [
        client.post(SERVICES, json={"name": "new", "model": "iris"}),
        client.patch(f"{SERVICES}/iris", json={"version": "2"}),
        client.post(f"{SERVICES}/iris:restart"),
    ]
    for answer in [await each for each in asked]:
        problem = is_problem(answer, 503, "switched_off")
        assert (problem["switch"], problem["reason"]) == ("deploys", "a test")
        assert 590 < int(answer.headers["retry-after"]) <= 600
    assert (await client.patch(f"{SERVICES}/iris", json={"description": "a word"})).status_code == 200
    # Other work of the lane goes on: the pause is done, and the deployment before it has not begun.
    assert (await client.post(f"{SERVICES}/iris:pause")).status_code == 202
    await work_on(context, is_running)
    assert (await client.get(f"{SERVICES}/iris")).json()["status"] == "paused"
    is_problem(await client.post(f"{SERVICES}/iris:resume"), 503, "switched_off")
    assert (await client.get(f"{V1}/operations/{waiting}")).json()["status"] == "queued"
    await on(client, "deploys")
    assert await work_on(context, is_running) == waiting


async def test_a_deployment_is_not_tried_again_while_there_shall_be_none(client: AsyncClient, context: Context) -> None:
    await add_ready_versions(context, 1)
    made = (await client.post(SERVICES, json={"name": "iris", "model": "iris"})).json()["id"]
    await work_on(context, fails)
    await off(client, "deploys")
    is_problem(await client.post(f"{V1}/operations/{made}:retry"), 503, "switched_off")
    batch = (await client.post(f"{V1}/operations:retry", json={"ids": [made]})).json()
    assert batch["items"][0]["error"]["code"] == "switched_off"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/reason"),
        ({"reason": ""}, "/reason"),
        ({"reason": "x" * 501}, "/reason"),
        ({"reason": "x", "expires_in_s": 0}, "/expires_in_s"),
        ({"reason": "x", "expires_in_s": 10**9}, "/expires_in_s"),
        ({"reason": "x", "expires_at": "2030-01-01T00:00:00Z"}, "/expires_at"),
    ],
)
async def test_bad_input_names_its_field(client: AsyncClient, body: dict[str, object], pointer: str) -> None:
    answer = await client.put(f"{SYSTEM}/switches/webhooks", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)


async def test_an_unknown_switch_is_named_with_the_nearest(client: AsyncClient) -> None:
    path = f"{SYSTEM}/switches/webhook"
    for answer in (await client.get(path), await client.put(path, json={"reason": "x"}), await client.delete(path)):
        assert "did you mean 'webhooks'?" in str(is_problem(answer, 404, "not_found")["detail"])


async def test_only_the_operator_switches_and_sees_what_runs_where(client: AsyncClient, context: Context) -> None:
    other = await add_user(context, "acme", "ada")
    path = f"{SYSTEM}/switches/webhooks"
    is_problem(await client.put(path, json={"reason": "x"}, headers=other), 403, "forbidden")
    is_problem(await client.delete(path, headers=other), 403, "forbidden")
    shown = SystemShown.model_validate((await client.get(SYSTEM, headers=other)).json())
    assert (shown.leases, shown.processes, shown.pools, shown.disk) == (None, None, None, None)
    assert shown.switches


async def test_the_system_tells_what_an_operator_looks_for(client: AsyncClient, context: Context) -> None:
    await add_operation(context)
    await off(client, "schedules")
    me = Self("host:1:ab", "worker", "host", 1, "1.0", "0002")
    presence = Presence(context.database, me, lambda: {"lanes": {"control": {"slots": 3, "busy": 1}}})
    await presence.start()
    shown = SystemShown.model_validate((await client.get(SYSTEM)).json())
    await presence.stop()
    assert (shown.lanes["control"].waiting, shown.lanes["control"].slots, shown.lanes["predict"].slots) == (1, 3, 0)
    assert shown.schema_revision >= "0002"
    assert [item.name for item in shown.switches if item.off] == ["schedules"]
    assert shown.processes is not None
    assert [(each.id, each.role, each.alive) for each in shown.processes] == [("host:1:ab", "worker", True)]
    assert "pools" in shown.processes[0].details
    assert shown.pools is not None
    assert shown.pools["writer"].size == 1
    assert shown.disk is not None
    assert 0 < shown.disk.free_bytes <= shown.disk.total_bytes


async def test_the_system_is_told_by_a_process_that_has_no_data_folder_yet(context: Context, tmp_path: Path) -> None:
    bare = replace(context, settings=context.settings.model_copy(update={"data": tmp_path / "not" / "there"}))
    async with AsyncClient(transport=ASGITransport(build_app(bare)), base_url="http://localhost") as client:
        shown = SystemShown.model_validate((await client.get(SYSTEM)).json())
    assert shown.disk is not None
    assert shown.disk.total_bytes > 0


async def test_a_lane_without_work_has_no_age(context: Context) -> None:
    async with context.database.read() as session:
        assert {(lane.waiting, lane.oldest_s) for lane in await backlogs(session)} == {(0, 0.0)}
