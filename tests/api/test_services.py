"""Services: deployed, changed and moved as ARCHITECTURE.md section 4 has it; every illegal move is told."""

import pytest
from httpx2 import AsyncClient

from api.dependencies import Context
from api.schemas.services import ReplicaPage, RevisionPage, ServicePage
from state.queries.services import find_service
from tests.api.catalogue import add_ready_versions, add_replica, is_running, running_service, upload
from tests.api.iris import ALL, IRIS, MATRIX, SERVICES, bring_to, deploy, has_failed, shown
from tests.api.platform import LOCAL, add_user, is_problem, work_on


@pytest.fixture
async def model(context: Context) -> None:
    """Two ready versions of the model `iris`."""
    await add_ready_versions(context, 2)


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize("wish", MATRIX)
@pytest.mark.parametrize("status", ALL)
async def test_each_wish_does_what_the_plan_says(client: AsyncClient, context: Context, status: str, wish: str) -> None:
    await bring_to(client, context, status)
    before = await shown(client)
    assert before.status == status
    if wish == "version":
        answer = await client.patch(IRIS, json={"version": 2})
    elif wish == "delete":
        answer = await client.delete(IRIS)
    else:
        answer = await client.post(f"{IRIS}:{wish}")
    expected, after = MATRIX[wish][status], await shown(client)
    if expected is None:
        problem = is_problem(answer, 409, "illegal_move")
        assert problem["current_status"] == status
        assert ("operation" in problem) == (before.operation is not None)
        assert (after.status, after.generation) == (status, before.generation)
        return
    assert (after.status, after.generation) == (expected[0], before.generation + 1)
    assert after.version == ("2" if wish == "version" else "1")
    if not expected[1]:
        assert answer.status_code == 200
        return
    assert answer.status_code == 202
    operation = answer.json()
    assert (operation["kind"], operation["target"]["generation"]) == (expected[1], after.generation)
    if before.operation is not None:
        older = (await client.get(before.operation)).json()
        assert (older["status"], older["superseded_by"]) == ("canceled", operation["id"])


@pytest.mark.usefixtures("model")
async def test_a_deployment_is_accepted_and_then_shown(client: AsyncClient, context: Context) -> None:
    body: dict[str, object] = {
        "replicas": 2,
        "resources": {"cpu": "500m", "memory": "1Gi"},
        "env": {"LEVEL": "3"},
        "tags": ["a"],
    }
    answer = await deploy(client, **body)
    assert answer.status_code == 202
    assert answer.json()["kind"] == "service.deploy"
    found = await shown(client)
    assert found.resources is not None
    assert (found.resources.cpu, found.resources.memory) == (0.5, "1024Mi")
    assert (found.model, found.version, found.revision, found.replicas, found.live) == ("iris", "2", 1, 2, None)
    assert found.env_names == ["LEVEL"]
    assert "3" not in str((await client.get(f"{IRIS}/revisions")).json()["items"][0]["env_names"])
    assert found.url == "http://localhost:8000/api/v1/services/iris/predict"
    assert found.operation == answer.headers["operation-location"]
    await work_on(context, is_running)
    live = (await shown(client)).live
    assert live is not None
    assert live.number == 1


@pytest.mark.usefixtures("model")
async def test_the_variables_of_a_revision_are_sealed_for_its_node(client: AsyncClient, context: Context) -> None:
    await deploy(client, env={"A": "1", "B": "2"})
    await client.patch(IRIS, json={"env": {"A": None, "C": "3"}})
    assert (await shown(client)).env_names == ["B", "C"]
    await client.patch(IRIS, json={"env": None})
    assert (await shown(client)).env_names == []
    assert len((await client.get(f"{IRIS}/revisions")).json()["items"]) == 3


WRONG: dict[str, tuple[dict[str, object], str]] = {
    "no model": ({"model": None}, "/model"),
    "a bad name": ({"name": "../x"}, "/name"),
    "replicas as text": ({"replicas": "3"}, "/replicas"),
    "replicas as a truth": ({"replicas": True}, "/replicas"),
    "no replicas": ({"replicas": 0}, "/replicas"),
    "too many replicas": ({"replicas": 65}, "/replicas"),
    "an endless number": ({"replicas": 10**30}, "/replicas"),
    "cpu in words": ({"resources": {"cpu": "half"}}, "/resources/cpu"),
    "no cpu": ({"resources": {"cpu": 0}}, "/resources/cpu"),
    "cpu below zero": ({"resources": {"cpu": -1}}, "/resources/cpu"),
    "cpu as a truth": ({"resources": {"cpu": True}}, "/resources/cpu"),
    "memory without sense": ({"resources": {"memory": "12 cows"}}, "/resources/memory"),
    "too little memory": ({"resources": {"memory": "1Mi"}}, "/resources/memory"),
    "memory as a fraction": ({"resources": {"memory": 1.5}}, "/resources/memory"),
    "too many GPUs": ({"resources": {"gpu": 17}}, "/resources/gpu"),
    "half a GPU": ({"resources": {"gpu": 0.5}}, "/resources/gpu"),
    "an unknown resource": ({"resources": {"disk": 1}}, "/resources/disk"),
    "a variable of ours": ({"env": {"PORTSIDE_MODEL": "x"}}, "/env/PORTSIDE_MODEL"),
    "a path": ({"env": {"PATH": "/x"}}, "/env/PATH"),
    "a loader's variable": ({"env": {"LD_PRELOAD": "/x"}}, "/env/LD_PRELOAD"),
    "a library's that loads others": ({"env": {"OPENSSL_CONF": "/x"}}, "/env/OPENSSL_CONF"),
    "a runtime's that loads tools": ({"env": {"OMP_TOOL_LIBRARIES": "/x"}}, "/env/OMP_TOOL_LIBRARIES"),
    "an interpreter's variable": ({"env": {"PYTHONPATH": "/x"}}, "/env/PYTHONPATH"),
    "Java's variable": ({"env": {"JAVA_TOOL_OPTIONS": "-Xmx9g"}}, "/env/JAVA_TOOL_OPTIONS"),
    "a variable with a space": ({"env": {"A B": "x"}}, "/env/A B"),
    "a variable that is a number": ({"env": {"A": 1}}, "/env/A"),
    "a huge variable": ({"env": {"A": "x" * 40_000}}, "/env/A"),
    "an unknown field": ({"replica": 1}, "/replica"),
    "a runtime": ({"runtime": "python3.12"}, "/runtime"),
    "autoscaling": ({"autoscaling": {"max": 3}}, "/autoscaling"),
    "nothing to follow": ({"version": 1, "follow": True}, "/follow"),
    "follow in words": ({"follow": "yes"}, "/follow"),
    "a runtime without a name": ({"runtime": {"engine": ""}}, "/runtime/engine"),
    "an unknown part of a runtime": ({"runtime": {"java": "17"}}, "/runtime/java"),
    "files as a list": ({"config_files": ["a"]}, "/config_files"),
    "an end without a unit": ({"expires_after": 3600}, "/expires_after"),
    "an end in words": ({"expires_after": "soon"}, "/expires_after"),
    "an end at once": ({"expires_after": "0s"}, "/expires_after"),
    "an end beyond all time": ({"expires_after": "999999999d"}, "/expires_after"),
    "a truth as version": ({"version": True}, "/version"),
}


@pytest.mark.usefixtures("model")
async def test_each_wrong_field_of_a_service_is_named(client: AsyncClient) -> None:
    await deploy(client)
    for case, (body, pointer) in WRONG.items():
        answer = await client.post(SERVICES, json={"name": "other", "model": "iris", **body})
        assert answer.status_code == 422, (case, answer.text)
        assert pointer in [error["pointer"] for error in answer.json()["errors"]], case
        patched = await client.patch(IRIS, json=body)
        assert patched.status_code == 422, (case, patched.text)
    assert [service["name"] for service in (await client.get(SERVICES)).json()["items"]] == ["iris"]
    assert (await shown(client)).generation == 1


async def test_only_a_ready_version_is_deployed(client: AsyncClient, context: Context) -> None:
    is_problem(await deploy(client), 404, "not_found")
    operation = (await upload(client)).json()["id"]
    is_problem(await deploy(client), 404, "not_found")
    problem = is_problem(await deploy(client, version=1), 409, "version_not_ready")
    assert problem["operation"] == f"/api/v1/operations/{operation}"
    await work_on(context, has_failed)
    problem = is_problem(await deploy(client, version=1), 409, "version_not_ready")
    assert "it crashed" in str(problem["detail"])
    is_problem(await deploy(client, version=7), 404, "not_found")


@pytest.mark.usefixtures("model")
async def test_a_patch_that_changes_nothing_makes_no_revision(client: AsyncClient, context: Context) -> None:
    await running_service(client, context, version=1)
    answer = await client.patch(IRIS, json={"version": 1, "replicas": 1, "resources": {}})
    assert answer.status_code == 200
    assert (await shown(client)).status == "running"
    answer = await client.patch(IRIS, json={"description": "flowers"})
    assert (answer.status_code, answer.json()["description"]) == (200, "flowers")
    assert (await client.patch(IRIS, json={"replicas": 3})).status_code == 202
    found = await shown(client)
    assert (found.revision, found.replicas, found.status) == (1, 3, "updating")


@pytest.mark.usefixtures("model")
async def test_resources_are_merged_and_null_gives_the_default_back(client: AsyncClient) -> None:
    await deploy(client, resources={"cpu": 2, "memory": "512Mi"})
    await client.patch(IRIS, json={"resources": {"memory": None}})
    found = (await shown(client)).resources
    assert found is not None
    assert (found.cpu, found.memory) == (2.0, None)
    await client.patch(IRIS, json={"resources": None})
    found = (await shown(client)).resources
    assert found is not None
    assert (found.cpu, found.memory) == (1.0, None)


@pytest.mark.usefixtures("model")
async def test_a_resize_does_not_forget_the_restart_that_it_supersedes(client: AsyncClient, context: Context) -> None:
    await running_service(client, context)
    await client.post(f"{IRIS}:restart")
    resized = (await client.patch(IRIS, json={"replicas": 2})).json()
    assert resized["kind"] == "service.restart"


@pytest.mark.usefixtures("model")
async def test_a_name_is_taken_and_free_again_after_deletion(client: AsyncClient, context: Context) -> None:
    await deploy(client)
    problem = is_problem(await deploy(client), 409, "name_taken")
    assert problem["holder"] == IRIS
    answer = await client.delete(IRIS)
    assert answer.status_code == 202
    await work_on(context, is_running)
    is_problem(await client.get(IRIS), 404, "not_found")
    assert (await deploy(client)).status_code == 202


@pytest.mark.usefixtures("model")
async def test_a_stale_etag_is_refused_and_nothing_happens(client: AsyncClient) -> None:
    await deploy(client)
    stale = {"if-match": '"99"'}
    is_problem(await client.patch(IRIS, json={"replicas": 2}, headers=stale), 412, "stale_etag")
    is_problem(await client.post(f"{IRIS}:pause", headers=stale), 412, "stale_etag")
    is_problem(await client.delete(IRIS, headers=stale), 412, "stale_etag")
    assert (await shown(client)).generation == 1


@pytest.mark.usefixtures("model")
async def test_a_deployment_is_done_once_for_one_key(client: AsyncClient) -> None:
    body, key = {"name": "iris", "model": "iris"}, {"idempotency-key": "k"}
    answers = [await client.post(SERVICES, json=body, headers=key) for _ in range(2)]
    assert answers[0].json()["id"] == answers[1].json()["id"]
    assert answers[1].headers["idempotent-replayed"] == "true"
    is_problem(await client.post(SERVICES, json={**body, "replicas": 2}, headers=key), 422, "idempotency_key_reused")


@pytest.mark.usefixtures("model")
async def test_services_are_listed_by_status_and_model(client: AsyncClient, context: Context) -> None:
    await running_service(client, context)
    await deploy(client, name="other")

    async def names(**query: str) -> list[str]:
        page = ServicePage.model_validate((await client.get(SERVICES, params=query)).json())
        return sorted(service.name for service in page.items)

    assert await names() == ["iris", "other"]
    assert await names(status="running") == ["iris"]
    assert await names(**{"model.in": "iris,wine", "name.not.eq": "iris"}) == ["other"]
    assert await names(model="wine") == []
    is_problem(await client.get(f"{SERVICES}?model.contains=i"), 422, "unknown_field")


@pytest.mark.usefixtures("model")
async def test_history_tells_each_change_with_its_operation(client: AsyncClient, context: Context) -> None:
    await running_service(client, context)
    paused = (await client.post(f"{IRIS}:pause")).json()
    page = (await client.get(f"{IRIS}/history?page_size=2&count=true")).json()
    assert page["total"] == 4
    assert [(change["from"], change["to"]) for change in page["items"]] == [
        ("running", "pausing"),
        ("deploying", "running"),
    ]
    assert (page["items"][0]["operation"], page["items"][0]["actor"]) == (paused["id"], "local")
    rest = (await client.get(f"{IRIS}/history?page_size=2&page_token={page['next_page_token']}&count=true")).json()
    assert [change["to"] for change in rest["items"]] == ["deploying", "pending"]
    assert rest["next_page_token"] is None


@pytest.mark.usefixtures("model")
async def test_revisions_and_replicas_are_listed(client: AsyncClient, context: Context) -> None:
    await running_service(client, context, version=1)
    await client.patch(IRIS, json={"version": 2})
    revisions = RevisionPage.model_validate((await client.get(f"{IRIS}/revisions")).json())
    assert [(revision.number, revision.version) for revision in revisions.items] == [(2, "2"), (1, "1")]
    async with context.database.write() as session:
        replica = await add_replica(session, await find_service(session, LOCAL.tenant_id, "iris"))
    replicas = ReplicaPage.model_validate((await client.get(f"{IRIS}/replicas")).json())
    assert [(row.id, row.status) for row in replicas.items] == [(replica.id, "starting")]
    logs = await client.get(replicas.items[0].logs)
    assert (logs.status_code, logs.text) == (200, "")
    is_problem(await client.get(f"{IRIS}/replicas/rep_x/logs"), 404, "not_found")
    is_problem(await client.get(f"{IRIS}/replicas/{replica.id}/logs?tail_bytes=-1"), 422, "invalid_field")


@pytest.mark.usefixtures("model")
async def test_another_tenant_cannot_touch_a_service(client: AsyncClient, context: Context) -> None:
    await deploy(client)
    other = await add_user(context, "acme", "eve")
    assert (await client.get(IRIS, headers=other)).status_code == 404
    assert (await client.patch(IRIS, json={"replicas": 2}, headers=other)).status_code == 404
    assert (await client.post(f"{IRIS}:pause", headers=other)).status_code == 404
    body = {"name": "mine", "model": "iris"}
    is_problem(await client.post(SERVICES, json=body, headers=other), 404, "not_found")


@pytest.mark.parametrize("name", ["nobody", "..%2f", "a" * 5000, "é", "iris:fly", "IRIS"])
async def test_an_unknown_service_is_404_whatever_it_is_called(client: AsyncClient, name: str) -> None:
    bodies: dict[str, object] = {"": None, ":pause": {}, "/history": None, "/replicas": None, "/predictions": {"x": 1}}
    for path, body in bodies.items():
        answer = await client.request("GET" if body is None else "POST", f"{SERVICES}/{name}{path}", json=body)
        assert answer.status_code in (404, 405, 422), (path, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
