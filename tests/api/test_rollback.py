"""`:rollback`: from which status it leads where, what it goes back to by itself, and what it cannot go back to."""

import pytest
from httpx2 import AsyncClient, Response

from api.dependencies import Context
from api.schemas.services import RevisionPage
from tests.api.catalogue import add_ready_versions, is_running, running_service
from tests.api.iris import ALL, IRIS, bring_to, has_failed, nothing_yet, shown
from tests.api.platform import add_user, is_problem, work_on

# The status after it and the kind of operation; None is 409.
LEADS_TO = {
    **dict.fromkeys(("pending", "deploying", "failed"), ("pending", "service.deploy")),
    **dict.fromkeys(("running", "updating", "pausing", "resuming"), ("updating", "service.rollback")),
    **dict.fromkeys(("paused", "deleting")),
}
VERBS = {"pausing": ("pause",), "paused": ("pause",), "resuming": ("pause", "resume")}


@pytest.fixture(autouse=True)
async def model(context: Context) -> None:
    """Three ready versions of the model `iris`."""
    await add_ready_versions(context, 3)


async def roll_back(client: AsyncClient, revision: int | None = None) -> Response:
    return await client.post(f"{IRIS}:rollback", json=None if revision is None else {"revision": revision})


async def change(client: AsyncClient, context: Context, **patch: object) -> None:
    """A change that takes effect."""
    assert (await client.patch(IRIS, json=patch)).status_code == 202
    await work_on(context, is_running)


async def in_its_second_revision(client: AsyncClient, context: Context, status: str) -> None:
    """A service in this status that ran version 1 and is asked for version 2."""
    if status in ("pending", "deploying", "failed"):
        await bring_to(client, context, status)
        await client.patch(IRIS, json={"version": 2})
        if status != "pending":
            await work_on(context, has_failed if status == "failed" else nothing_yet)
        return
    await running_service(client, context, version=1)
    await change(client, context, version=2)
    for verb in VERBS.get(status, ()):
        await client.post(f"{IRIS}:{verb}")
        if (verb, status) != ("pause", "pausing") and verb == "pause":
            await work_on(context, is_running)
    if status == "updating":
        await client.post(f"{IRIS}:restart")
    if status == "deleting":
        await client.delete(IRIS)


@pytest.mark.parametrize("status", ALL)
async def test_a_rollback_leads_from_each_status_where_the_plan_says(
    client: AsyncClient, context: Context, status: str
) -> None:
    await in_its_second_revision(client, context, status)
    before = await shown(client)
    assert (before.status, before.version) == (status, "2")
    answer, expected = await roll_back(client), LEADS_TO[status]
    after = await shown(client)
    if expected is None:
        problem = is_problem(answer, 409, "illegal_move")
        assert (problem["current_status"], after.generation) == (status, before.generation)
        return
    assert answer.status_code == 202, answer.text
    operation = answer.json()
    assert (after.status, operation["kind"]) == expected
    assert (after.version, after.revision) == ("1", 3)
    assert after.generation == operation["target"]["generation"] == before.generation + 1
    if before.operation is not None:
        older = (await client.get(before.operation)).json()
        assert (older["status"], older["superseded_by"]) == ("canceled", operation["id"])
    await work_on(context, is_running)
    last = await shown(client)
    assert last.live is not None
    assert (last.status, last.live.number, last.live.version) == ("running", 3, "1")


async def test_the_old_revision_comes_back_with_its_size_limits_and_variables(
    client: AsyncClient, context: Context
) -> None:
    limits = {"cpu": "500m", "memory": "1Gi"}
    await running_service(client, context, version=1, resources=limits, env={"LEVEL": "3"})
    await change(client, context, resources=None, env={"LEVEL": "4"}, replicas=2)
    assert (await roll_back(client, 1)).status_code == 202
    revisions = RevisionPage.model_validate((await client.get(f"{IRIS}/revisions")).json()).items
    assert [revision.number for revision in revisions] == [3, 2, 1]
    assert revisions[0].resources == revisions[2].resources
    found = await shown(client)
    assert (found.env_names, found.replicas) == (["LEVEL"], 2)
    await work_on(context, is_running)
    # Its variables are the old ones too: the first revision is what runs already.
    is_problem(await roll_back(client, 1), 409, "same_revision")


async def test_two_rollbacks_lead_back_to_where_one_was(client: AsyncClient, context: Context) -> None:
    await running_service(client, context, version=1)
    await change(client, context, version=2)
    for version in ("1", "2"):
        await roll_back(client)
        await work_on(context, is_running)
        assert (await shown(client)).version == version


async def test_a_rollout_is_taken_back_to_the_live_revision_without_a_new_one(
    client: AsyncClient, context: Context
) -> None:
    await running_service(client, context, version=1)
    await change(client, context, version=2)
    await client.patch(IRIS, json={"version": 3})
    assert (await roll_back(client)).json()["kind"] == "service.rollback"
    found = await shown(client)
    assert (found.version, found.revision, found.status) == ("2", 2, "updating")


async def test_a_rollback_that_fails_leaves_the_live_revision_wanted(client: AsyncClient, context: Context) -> None:
    await running_service(client, context, version=1)
    await change(client, context, version=2)
    operation = (await roll_back(client)).json()
    await work_on(context, has_failed)
    found = await shown(client)
    assert (found.status, found.version, found.revision) == ("running", "2", 2)
    assert (await client.get(f"/api/v1/operations/{operation['id']}")).json()["status"] == "failed"


async def test_what_was_tried_in_vain_is_not_gone_back_to_by_itself(client: AsyncClient, context: Context) -> None:
    await running_service(client, context, version=1)
    await client.patch(IRIS, json={"version": 2})
    await work_on(context, has_failed)
    await change(client, context, version=2)  # the same once more, now with success
    await roll_back(client)
    assert (await shown(client)).version == "1"


async def test_a_rollback_without_a_way_back_says_why(client: AsyncClient, context: Context) -> None:
    is_problem(await roll_back(client), 404, "not_found")
    await running_service(client, context, version=1)
    is_problem(await roll_back(client), 409, "no_earlier_revision")
    is_problem(await roll_back(client, 1), 409, "same_revision")
    problem = is_problem(await roll_back(client, 9), 404, "not_found")
    assert f"{IRIS}/revisions" in str(problem["detail"])
    wrong: tuple[object, ...] = (0, -1, "1", 1.5, True, 2**31, [])
    for revision in wrong:
        answer = await client.post(f"{IRIS}:rollback", json={"revision": revision})
        problem = is_problem(answer, 422, "invalid_field")
        assert "/revision" in str(problem["errors"]), revision
    is_problem(await client.post(f"{IRIS}:rollback", json={"to": 1}), 422, "unknown_field")
    assert (await shown(client)).generation == 1


async def test_a_revision_whose_version_is_deleted_cannot_come_back(client: AsyncClient, context: Context) -> None:
    await running_service(client, context, version=1)
    await change(client, context, version=2)
    assert (await client.delete("/api/v1/models/iris/versions/1")).status_code == 204
    problem = is_problem(await roll_back(client), 409, "version_not_ready")
    assert "revision 1 ran version 1 of model 'iris', which is deleted" in str(problem["detail"])
    assert ((await shown(client)).version, (await shown(client)).generation) == ("2", 2)


async def test_only_its_owner_with_a_fresh_etag_rolls_back(client: AsyncClient, context: Context) -> None:
    await running_service(client, context, version=1)
    await change(client, context, version=2)
    other = await add_user(context, "acme", "eve")
    assert (await client.post(f"{IRIS}:rollback", headers=other)).status_code == 404
    is_problem(await client.post(f"{IRIS}:rollback", headers={"if-match": '"99"'}), 412, "stale_etag")
    fresh = {"if-match": (await shown(client)).etag}
    assert (await client.post(f"{IRIS}:rollback", headers=fresh)).status_code == 202
