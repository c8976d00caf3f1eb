"""`PUT /services/{s}`: makes a service or replaces all that is wanted of one, and does nothing when nothing differs."""

from collections.abc import Mapping

import pytest
from httpx2 import AsyncClient, Response

from api.dependencies import Context
from api.schemas.services import RevisionPage
from tests.api.catalogue import add_ready_versions, is_running, running_service
from tests.api.iris import ALL, IRIS, MATRIX, bring_to, shown
from tests.api.platform import add_user, is_problem, work_on


@pytest.fixture(autouse=True)
async def model(context: Context) -> None:
    """Two ready versions of the model `iris`."""
    await add_ready_versions(context, 2)


Body = Mapping[str, object]
NOTHING: Body = {}


async def put(client: AsyncClient, body: Body = NOTHING, headers: Mapping[str, str] | None = None) -> Response:
    return await client.put(IRIS, json={"model": "iris", **body}, headers=headers)


async def revisions(client: AsyncClient) -> int:
    return len(RevisionPage.model_validate((await client.get(f"{IRIS}/revisions")).json()).items)


async def test_put_makes_a_service_that_is_not_there(client: AsyncClient, context: Context) -> None:
    answer = await put(client, {"name": "iris", "version": 1, "replicas": 2, "display_name": "Flowers"})
    assert (answer.status_code, answer.json()["kind"]) == (202, "service.deploy")
    await work_on(context, is_running)
    found = await shown(client)
    assert (found.status, found.version, found.replicas, found.display_name) == ("running", "1", 2, "Flowers")


async def test_a_finished_creation_is_201_also_when_it_is_asked_for_again(
    client: AsyncClient, context: Context
) -> None:
    key = {"idempotency-key": "k"}
    assert (await put(client, headers=key)).status_code == 202
    await work_on(context, is_running)
    again = await put(client, headers=key)
    assert (again.status_code, again.headers["location"]) == (201, f"http://localhost:8000{IRIS}")
    assert (await put(client)).status_code == 200


@pytest.mark.parametrize("status", ALL)
async def test_put_does_in_each_status_what_a_patch_does(client: AsyncClient, context: Context, status: str) -> None:
    await bring_to(client, context, status)
    before = await shown(client)
    answer, expected = await put(client, {"version": 2}), MATRIX["version"][status]
    after = await shown(client)
    if expected is None:
        is_problem(answer, 409, "illegal_move")
        return
    assert (after.status, after.version, after.generation) == (expected[0], "2", before.generation + 1)
    assert answer.status_code == (202 if expected[1] else 200)
    if expected[1]:
        assert answer.json()["kind"] == expected[1]


async def test_what_put_leaves_out_gets_its_default(client: AsyncClient, context: Context) -> None:
    limits = {"cpu": 2, "memory": "1Gi"}
    await running_service(client, context, version=1, replicas=3, resources=limits, env={"A": "1"})
    await client.patch(IRIS, json={"display_name": "D", "description": "d", "tags": ["a"]})
    assert (await put(client, {"env": {"B": "2"}})).status_code == 202
    found = await shown(client)
    assert found.resources is not None
    assert (found.version, found.replicas, found.env_names) == ("2", 1, ["B"])
    assert (found.resources.cpu, found.resources.memory) == (1.0, None)
    assert (found.display_name, found.description, found.tags) == (None, None, [])


async def test_the_same_again_changes_nothing_and_makes_no_revision(client: AsyncClient, context: Context) -> None:
    body = {"version": 1, "replicas": 2, "resources": {"memory": "1Gi"}, "env": {"A": "1"}}
    await put(client, body)
    await work_on(context, is_running)
    answer = await put(client, body)
    assert (answer.status_code, answer.json()["status"], answer.json()["operation"]) == (200, "running", None)
    assert await revisions(client) == 1
    assert (await put(client, {**body, "description": "flowers"})).status_code == 200
    assert ((await shown(client)).description, await revisions(client)) == ("flowers", 1)
    assert (await put(client, {**body, "env": {"A": "2"}})).status_code == 202
    assert await revisions(client) == 2


async def test_put_honours_if_match(client: AsyncClient, context: Context) -> None:
    for any_tag in ("*", '"1"'):
        is_problem(await put(client, headers={"if-match": any_tag}), 412, "stale_etag")
    is_problem(await client.get(IRIS), 404, "not_found")
    await running_service(client, context)
    is_problem(await put(client, {"replicas": 2}, {"if-match": '"99"'}), 412, "stale_etag")
    assert (await put(client, {"replicas": 2}, {"if-match": (await shown(client)).etag})).status_code == 202


async def test_a_put_that_cannot_be_is_refused(client: AsyncClient, context: Context) -> None:
    cases: dict[str, tuple[dict[str, object], str]] = {
        "another name": ({"name": "other"}, "/name"),
        "no model": ({"model": None}, "/model"),
        "replicas without a number": ({"replicas": None}, "/replicas"),
        "a variable of ours": ({"env": {"PORTSIDE_MODEL": "x"}}, "/env/PORTSIDE_MODEL"),
        "an unknown field": ({"replica": 1}, "/replica"),
        "a runtime": ({"runtime": "python3.12"}, "/runtime"),
    }
    for case, (body, pointer) in cases.items():
        answer = await put(client, body)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer), case
    answer = await client.put("/api/v1/services/Not%20a%20name", json={"model": "iris"})
    assert is_problem(answer, 422, "invalid_field")["errors"]
    is_problem(await client.put(IRIS, json={"model": "wine"}), 404, "not_found")
    is_problem(await client.get(IRIS), 404, "not_found")


async def test_a_name_belongs_to_its_tenant(client: AsyncClient, context: Context) -> None:
    await running_service(client, context)
    other = await add_user(context, "acme", "eve")
    is_problem(await client.put(IRIS, json={"model": "iris"}, headers=other), 404, "not_found")
    assert (await shown(client)).generation == 1


async def test_a_deleted_service_is_made_anew(client: AsyncClient, context: Context) -> None:
    await running_service(client, context)
    before = (await shown(client)).id
    await client.delete(IRIS)
    await work_on(context, is_running)
    assert (await put(client)).status_code == 202
    assert (await shown(client)).id != before
