"""`follow: true`: a service goes where its reference goes, in the transaction that moves an alias or by a caretaker."""

from collections.abc import Mapping

import pytest
from httpx2 import AsyncClient

from api.dependencies import Context
from api.schemas.services import ServiceShown
from tests.api.catalogue import add_ready_versions, is_accepted, is_running, upload
from tests.api.iris import IRIS, deploy, has_failed, shown
from tests.api.platform import is_problem, work_on
from workers.follower import Follower

MODEL = "/api/v1/models/iris"


@pytest.fixture(autouse=True)
async def model(client: AsyncClient, context: Context) -> None:
    """Three ready versions of the model `iris`; `@prod` is the first."""
    await add_ready_versions(context, 3)
    await move(client, 1)


async def move(client: AsyncClient, version: int, alias: str = "prod") -> None:
    answer = await client.put(f"{MODEL}/aliases/{alias}", json={"version": version})
    assert answer.status_code == 200, answer.text


async def following(client: AsyncClient, context: Context, reference: str = "@prod") -> ServiceShown:
    """A running service that follows."""
    answer = await deploy(client, version=reference, follow=True)
    assert answer.status_code == 202, answer.text
    await work_on(context, is_running)
    return await shown(client)


async def look(context: Context) -> None:
    """The caretaker's."""
    await Follower(context.database, context.vault).look()


async def operations(client: AsyncClient) -> list[tuple[str, str]]:
    """What was done with services, oldest first, and by whom."""
    found = (await client.get("/api/v1/operations", params={"kind.prefix": "service."})).json()["items"]
    return [(each["kind"], each["status"]) for each in reversed(found)]


async def test_a_service_says_what_it_follows(client: AsyncClient, context: Context) -> None:
    found = await following(client, context)
    assert (found.follow, found.version_ref, found.version) == (True, "@prod", "1")


async def test_a_service_that_pins_a_version_stays_with_it(client: AsyncClient, context: Context) -> None:
    await deploy(client, version="@prod")
    await work_on(context, is_running)
    await move(client, 2)
    await look(context)
    found = await shown(client)
    assert (found.follow, found.version_ref, found.version, found.status) == (False, None, "1", "running")


async def test_an_alias_takes_its_followers_along_in_its_own_transaction(client: AsyncClient, context: Context) -> None:
    await following(client, context)
    await move(client, 3)
    found = await shown(client)
    assert (found.status, found.version, found.live and found.live.version) == ("updating", "3", "1")
    await look(context)  # nothing is left to do
    await work_on(context, is_running)
    found = await shown(client)
    assert (found.status, found.version, found.revision) == ("running", "3", 2)
    assert await operations(client) == [("service.deploy", "succeeded"), ("service.update", "succeeded")]


async def test_only_the_followers_of_that_alias_of_that_model_are_updated(
    client: AsyncClient, context: Context
) -> None:
    await following(client, context)
    await move(client, 2, "canary")
    assert (await shown(client)).status == "running"
    await move(client, 1)  # where it is already
    assert ((await shown(client)).status, len(await operations(client))) == ("running", 1)


async def test_the_newest_version_is_followed_once_it_is_ready(client: AsyncClient, context: Context) -> None:
    assert (await following(client, context, "latest")).version == "3"
    await upload(client)
    await look(context)
    assert (await shown(client)).status == "running"
    await work_on(context, is_accepted)
    await look(context)
    found = await shown(client)
    assert (found.status, found.version) == ("updating", "4")
    await look(context)
    assert len(await operations(client)) == 2


@pytest.mark.parametrize("reference", ["@prod", "latest"])
async def test_what_failed_is_not_tried_again_until_the_reference_moves(
    client: AsyncClient, context: Context, reference: str
) -> None:
    async def move_on() -> None:
        if reference == "latest":
            await upload(client)
            await work_on(context, is_accepted)
            await look(context)
        else:
            await move(client, int((await shown(client)).version or 0) + 1)

    before = await following(client, context, reference)
    await move_on()
    await work_on(context, has_failed)
    for _ in range(2):
        await look(context)
    found = await shown(client)
    assert (found.status, found.version, found.follow) == ("running", before.version, True)
    assert (await operations(client))[-1] == ("service.update", "failed")
    if reference == "@prod":
        await move(client, 3)
    else:
        await move_on()
    assert (await shown(client)).status == "updating"


# What a PATCH says of a service that follows `@prod`, and what it follows then.
PATCHES: Mapping[str, tuple[Mapping[str, object], str | None, str]] = {
    "something else": ({"replicas": 2, "description": "x"}, "@prod", "1"),
    "another reference": ({"version": "latest"}, "latest", "3"),
    "another alias": ({"version": "@canary"}, "@canary", "2"),
    "a number": ({"version": "2"}, None, "2"),
    "no longer": ({"follow": False}, None, "1"),
    "null": ({"follow": None}, None, "1"),
    "no longer, and another": ({"version": "latest", "follow": False}, None, "3"),
    "what it does": ({"follow": True}, "@prod", "1"),
    "the model": ({"model": "iris"}, "latest", "3"),
}


@pytest.mark.parametrize("case", PATCHES)
async def test_a_patch_changes_what_is_followed(client: AsyncClient, context: Context, case: str) -> None:
    await move(client, 2, "canary")
    await following(client, context)
    body, reference, version = PATCHES[case]
    answer = await client.patch(IRIS, json=body)
    assert answer.status_code in (200, 202), answer.text
    found = await shown(client)
    assert (found.version_ref, found.follow, found.version) == (reference, reference is not None, version)
    await look(context)
    assert (await shown(client)).version == version


async def test_a_service_begins_to_follow_without_being_touched(client: AsyncClient, context: Context) -> None:
    await deploy(client, version=1)
    await work_on(context, is_running)
    problem = is_problem(await client.patch(IRIS, json={"follow": True}), 422, "invalid_field")
    assert "'@prod'" in str(problem["errors"])
    answer = await client.patch(IRIS, json={"version": "@prod", "follow": True})
    assert (answer.status_code, answer.json()["version_ref"], answer.json()["status"]) == (200, "@prod", "running")
    await move(client, 2)
    assert (await shown(client)).status == "updating"


async def test_put_says_it_anew(client: AsyncClient, context: Context) -> None:
    await following(client, context)
    body = {"model": "iris", "version": "@prod"}
    assert (await client.put(IRIS, json={**body, "follow": True})).json()["version_ref"] == "@prod"
    assert (await client.put(IRIS, json=body)).json()["follow"] is False


async def test_a_paused_service_follows_and_comes_back_with_what_it_follows(
    client: AsyncClient, context: Context
) -> None:
    await following(client, context)
    await client.post(f"{IRIS}:pause")
    await work_on(context, is_running)
    await move(client, 2)
    found = await shown(client)
    assert (found.status, found.version, found.revision) == ("paused", "2", 2)


async def test_a_rollback_stays_until_the_reference_moves(client: AsyncClient, context: Context) -> None:
    await following(client, context)
    await move(client, 2)
    await work_on(context, is_running)
    await client.post(f"{IRIS}:rollback")
    await work_on(context, is_running)
    await look(context)
    found = await shown(client)
    assert (found.status, found.version, found.follow) == ("running", "1", True)
    await move(client, 3)
    assert (await shown(client)).version == "3"


async def test_a_service_that_is_being_deleted_holds_up_no_alias(client: AsyncClient, context: Context) -> None:
    await following(client, context)
    await client.delete(IRIS)
    await move(client, 2)
    await look(context)
    assert (await shown(client)).version == "1"


async def test_an_alias_moves_while_deployments_are_off_and_its_followers_after_it(
    client: AsyncClient, context: Context
) -> None:
    await following(client, context)
    await client.put("/api/v1/system/switches/deploys", json={"reason": "a test"})
    await move(client, 2)
    await look(context)
    assert (await shown(client)).status == "running"
    await client.delete("/api/v1/system/switches/deploys")
    await look(context)
    found = await shown(client)
    assert (found.status, found.version) == ("updating", "2")
