"""Each change of a status can be read back, of whatever has one."""

from httpx2 import AsyncClient, Response

from api.dependencies import Context
from tests.api.catalogue import is_accepted, running_service, upload
from tests.api.platform import add_user, work_on

IRIS = "/api/v1/models/iris"


def moves(answer: Response) -> list[tuple[str, str]]:
    """The moves and where they led, the oldest first."""
    assert answer.status_code == 200, answer.text
    return [(change["move"], change["to"]) for change in reversed(answer.json()["items"])]


async def test_every_change_is_told_of_what_was_changed(client: AsyncClient, context: Context) -> None:
    accepted = await upload(client)
    await work_on(context, is_accepted)
    assert moves(await client.get(f"{IRIS}/history")) == [("create", "active")]
    inspected = await client.get(f"{IRIS}/versions/1/history")
    assert moves(inspected) == [("create", "received"), ("inspect", "inspecting"), ("accept", "ready")]
    assert inspected.json()["items"][0]["operation"] == accepted.json()["id"]
    done = await client.get(f"/api/v1/operations/{accepted.json()['id']}/history")
    assert [to for _, to in moves(done)] == ["queued", "running", "succeeded"]
    await running_service(client, context)
    made = (await client.post("/api/v1/services/iris/predictions", json={"inputs": {"x": [1, 2, 3, 4]}})).json()
    assert moves(await client.get(f"/api/v1/predictions/{made['id']}/history")) == [("create", "starting")]


async def test_pages_go_on_where_the_one_before_ended(client: AsyncClient, context: Context) -> None:
    await upload(client)
    await work_on(context, is_accepted)
    path = f"{IRIS}/versions/latest/history?page_size=2&count=true"
    page = (await client.get(path)).json()
    rest = (await client.get(f"{path}&page_token={page['next_page_token']}")).json()
    assert (page["total"], len(page["items"]), len(rest["items"]), rest["next_page_token"]) == (3, 2, 1, None)


async def test_another_tenants_history_is_not_there(client: AsyncClient, context: Context) -> None:
    accepted = await upload(client)
    stranger = await add_user(context, "acme", "eve")
    for path in (
        f"{IRIS}/history",
        f"{IRIS}/versions/1/history",
        f"/api/v1/operations/{accepted.json()['id']}/history",
    ):
        assert (await client.get(path, headers=stranger)).status_code == 404
