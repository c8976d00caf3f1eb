"""Models and versions: made, described, listed, downloaded, deleted; refused while a service uses them."""

import hashlib

import pytest
from httpx2 import AsyncClient

from api.dependencies import Context
from api.schemas.models import ModelPage, ModelShown
from api.schemas.versions import VersionPage, VersionShown
from core.errors import Json
from state.database import WriteSession
from state.endings import Locked, fail
from state.history import By
from state.processes import Presence, Self
from tests.api.catalogue import ONNX, PMML, ready_version, running_service, upload
from tests.api.platform import add_user, is_problem, work_on

MODELS = "/api/v1/models"
IRIS = f"{MODELS}/iris"


async def is_rejected(session: WriteSession, work: Locked) -> None:
    """The inspection found a fault of the file."""
    problem: dict[str, Json] = {
        "type": "x",
        "title": "x",
        "status": 422,
        "detail": "opset 99 is too new",
        "code": "unsupported_opset",
    }
    await fail(session, work, By("worker"), problem)


async def test_an_empty_model_is_made_at_once(client: AsyncClient) -> None:
    answer = await client.post(MODELS, json={"name": "iris", "display_name": "Iris ❀", "tags": ["a", "b", "a"]})
    assert answer.status_code == 201
    assert answer.headers["location"] == f"http://localhost:8000{IRIS}"
    assert "operation-location" in answer.headers
    shown = ModelShown.model_validate(answer.json())
    assert (shown.display_name, shown.tags, shown.versions, shown.latest) == ("Iris ❀", ["a", "b"], 0, None)
    assert (await client.get(answer.headers["operation-location"])).json()["status"] == "succeeded"


async def test_a_form_makes_a_model_and_its_first_version(client: AsyncClient) -> None:
    form = {"name": "iris", "display_name": "Iris", "description": "flowers"}
    answer = await client.post(MODELS, data=form, files={"file": ("iris.onnx", ONNX)})
    assert answer.status_code == 202
    assert answer.json()["kind"] == "version.inspect"
    assert (await client.get(IRIS)).json()["description"] == "flowers"
    assert (await client.get(f"{IRIS}/versions/1")).json()["filename"] == "iris.onnx"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": "../etc"}, "/name"),
        ({"name": "a" * 10_000}, "/name"),
        ({"name": "ünicode"}, "/name"),
        ({"name": 3}, "/name"),
        ({}, "/name"),
        ({"name": "iris", "nmae": "x"}, "/nmae"),
        ({"name": "iris", "display_name": "x" * 201}, "/display_name"),
        ({"name": "iris", "tags": "a"}, "/tags"),
        ({"name": "iris", "tags": [""]}, "/tags"),
        ([], ""),
    ],
)
async def test_a_wrong_field_of_a_model_is_named(client: AsyncClient, body: object, pointer: str) -> None:
    answer = await client.post(MODELS, json=body)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert (await client.get(MODELS)).json()["items"] == []


async def test_a_name_is_taken_until_its_model_is_deleted(client: AsyncClient) -> None:
    first = (await client.post(MODELS, json={"name": "iris"})).json()
    problem = is_problem(await client.post(MODELS, json={"name": "iris"}), 409, "name_taken")
    assert problem["holder"] == IRIS
    assert (await client.delete(IRIS)).status_code == 204
    is_problem(await client.get(IRIS), 404, "not_found")
    assert (await client.post(MODELS, json={"name": "iris"})).json()["id"] != first["id"]


async def test_a_patch_changes_what_it_names_and_raises_the_generation(client: AsyncClient) -> None:
    made = (await client.post(MODELS, json={"name": "iris", "description": "x", "tags": ["a"]})).json()
    answer = await client.patch(IRIS, json={"description": None, "tags": None, "display_name": "Iris"})
    assert answer.status_code == 200
    shown = answer.json()
    assert (shown["description"], shown["tags"], shown["display_name"]) == (None, [], "Iris")
    assert shown["generation"] == made["generation"] + 1
    stale = await client.patch(IRIS, json={"display_name": "Y"}, headers={"if-match": made["etag"]})
    is_problem(stale, 412, "stale_etag")
    assert (await client.get(IRIS, headers={"if-none-match": shown["etag"]})).status_code == 304


async def test_lists_are_filtered_and_tell_the_newest_versions(client: AsyncClient, context: Context) -> None:
    await ready_version(client, context)
    await upload(client)
    await client.post(MODELS, json={"name": "wine"})
    page = ModelPage.model_validate((await client.get(MODELS, params={"name.prefix": "ir", "count": "true"})).json())
    assert page.total == 1
    shown = page.items[0]
    assert shown.latest is not None
    assert shown.newest is not None
    assert (shown.versions, shown.latest.version, shown.newest.version) == (2, "1", "2")
    versions = VersionPage.model_validate((await client.get(f"{IRIS}/versions?status.in=ready,invalid")).json())
    assert [version.number for version in versions.items] == [1]
    is_problem(await client.get(f"{IRIS}/versions?colour=red"), 422, "unknown_field")


async def test_a_version_is_found_by_number_latest_alias_and_digest(client: AsyncClient, context: Context) -> None:
    await ready_version(client, context)
    await ready_version(client, context, content=PMML)
    await upload(client)
    alias = await client.put(f"{IRIS}/aliases/champion", json={"version": 1})
    assert alias.json()["aliases"] == {"champion": "1"}
    digest = f"sha256:{hashlib.sha256(PMML).hexdigest()}"
    for given, number in (("1", 1), ("latest", 2), ("@champion", 1), (digest, 2)):
        shown = VersionShown.model_validate((await client.get(f"{IRIS}/versions/{given}")).json())
        assert shown.number == number
    for unknown in ("9", "0", "first", "@nobody", "sha256:00", "1" * 40, "-1", "²", "latest%2F..", "sha256:a:b"):
        assert (await client.get(f"{IRIS}/versions/{unknown}")).status_code == 404
    is_problem(await client.put(f"{IRIS}/aliases/champion", json={"version": 3}), 409, "version_not_ready")
    assert (await client.delete(f"{IRIS}/aliases/champion")).status_code == 204
    is_problem(await client.get(f"{IRIS}/versions/@champion"), 404, "not_found")


async def test_the_overview_is_flat_and_tells_why_a_version_is_invalid(client: AsyncClient, context: Context) -> None:
    await ready_version(client, context)
    await upload(client)
    await work_on(context, is_rejected)
    ready = (await client.get(f"{IRIS}/versions/1")).json()
    assert (ready["engine"], ready["opset"], ready["task"]) == ("onnxruntime", 17, "classification")
    assert ready["inputs"][0]["name"] == "x"
    invalid = VersionShown.model_validate((await client.get(f"{IRIS}/versions/2")).json())
    assert (invalid.status, invalid.reason, invalid.message) == ("invalid", "unsupported_opset", "opset 99 is too new")


async def test_a_version_is_described_and_its_metrics_are_merged(client: AsyncClient, context: Context) -> None:
    await ready_version(client, context)
    version = f"{IRIS}/versions/1"
    await client.patch(version, json={"metrics": {"a": 1, "b": {"c": 2}}, "task": "regression", "tags": ["x"]})
    shown = (await client.patch(version, json={"metrics": {"a": None}, "task": None})).json()
    assert (shown["metrics"], shown["task"], shown["tags"]) == ({"b": {"c": 2}}, "classification", ["x"])
    assert (await client.patch(version, json={"metrics": None})).json()["metrics"] is None
    for body, pointer in (({"task": "x"}, "/task"), ({"digest": "x"}, "/digest"), ({"features": []}, "/features")):
        problem = (await client.patch(version, json=body)).json()
        assert [error["pointer"] for error in problem["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("asked", "status", "first", "stop"),
    [
        (None, 200, 0, None),
        ("bytes=0-9", 206, 0, 10),
        ("bytes=100-", 206, 100, None),
        ("bytes=-7", 206, -7, None),
        ("bytes=5-999999", 206, 5, None),
        ("bytes=9-5", 200, 0, None),
        ("bytes=0-1,5-6", 200, 0, None),
        ("lines=1-2", 200, 0, None),
    ],
)
async def test_an_artifact_is_downloaded_whole_or_in_part(
    client: AsyncClient, asked: str | None, status: int, first: int, stop: int | None
) -> None:
    await upload(client)
    answer = await client.get(f"{IRIS}/versions/1/artifact", headers={"range": asked} if asked else {})
    assert answer.status_code == status
    assert answer.content == ONNX[first:stop]
    assert answer.headers["content-length"] == str(len(ONNX[first:stop]))
    assert answer.headers["etag"] == f'"sha256:{hashlib.sha256(ONNX).hexdigest()}"'
    assert "iris-1.onnx" in answer.headers["content-disposition"]


async def test_a_download_knows_its_etag_head_and_where_the_file_ends(client: AsyncClient) -> None:
    await upload(client)
    artifact = f"{IRIS}/versions/1/artifact"
    head = await client.head(artifact)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(ONNX)))
    assert (await client.get(artifact, headers={"if-none-match": head.headers["etag"]})).status_code == 304
    other = await client.get(artifact, headers={"range": "bytes=0-1", "if-range": '"other"'})
    assert other.status_code == 200
    beyond = await client.get(artifact, headers={"range": f"bytes={len(ONNX)}-"})
    is_problem(beyond, 416, "range_not_satisfiable")
    assert beyond.headers["content-range"] == f"bytes */{len(ONNX)}"


async def test_what_a_service_uses_cannot_be_deleted(client: AsyncClient, context: Context) -> None:
    await ready_version(client, context)
    await ready_version(client, context)
    await running_service(client, context, name="flowers", version=1)
    for path in (IRIS, f"{IRIS}/versions/1"):
        problem = is_problem(await client.delete(path), 409, "in_use")
        assert problem["services"] == ["/api/v1/services/flowers"]
        assert "'flowers'" in str(problem["detail"])
    is_problem(await client.delete(f"{IRIS}?cascade=false&dry_run=true"), 409, "in_use")
    assert (await client.delete(f"{IRIS}/versions/2")).status_code == 204
    assert [version["number"] for version in (await client.get(f"{IRIS}/versions")).json()["items"]] == [1]


@pytest.mark.parametrize("query", ["?cascade", "?cascade=true"])
async def test_a_model_takes_its_services_along_where_that_is_asked(
    client: AsyncClient, context: Context, query: str
) -> None:
    await ready_version(client, context)
    await running_service(client, context, name="flowers")
    would = await client.delete(f"{IRIS}{query}&dry_run=true")
    assert (would.status_code, would.json()) == (200, {"dry_run": True, "services": ["flowers"], "versions": 1})
    key = {"Idempotency-Key": "k"}
    answer = await client.delete(f"{IRIS}{query}", headers=key)
    operation = answer.json()
    assert (answer.status_code, operation["kind"], operation["target"]["name"]) == (202, "model.delete", "iris")
    assert operation["progress"]["detail"] == "with the services flowers"
    assert (await client.delete(f"{IRIS}{query}", headers=key)).json()["id"] == operation["id"]
    assert (await client.get("/api/v1/services/flowers")).json()["status"] == "deleting"
    assert (await client.get(IRIS)).json()["status"] == "deleting"
    is_problem(await client.post("/api/v1/services", json={"name": "late", "model": "iris"}), 404, "not_found")
    is_problem(await client.delete(f"{IRIS}{query}"), 404, "not_found")
    is_problem(await client.delete(f"{IRIS}{query}&dry_run=true"), 404, "not_found")
    canceled = await client.post(f"/api/v1/operations/{operation['id']}:cancel")
    is_problem(canceled, 409, "not_cancelable")


@pytest.mark.parametrize(
    "query", ["cascade=", "cascade=1", "cascade=True", "cascade&cascade=", "cascade=false&services=flowers"]
)
async def test_services_are_deleted_only_where_that_is_said_clearly(
    client: AsyncClient, context: Context, query: str
) -> None:
    """A script's `cascade=$UNSET` is not it."""
    await ready_version(client, context)
    await running_service(client, context, name="flowers")
    for path in (f"{IRIS}?{query}", f"{IRIS}?dry_run=true&{query}"):
        problem = is_problem(await client.delete(path), 422, "invalid_field")
        assert problem["errors"][0]["pointer"] in ("/cascade", "/services")  # type: ignore[index]
    assert (await client.get("/api/v1/services/flowers")).json()["status"] == "running"


async def test_only_the_services_that_were_confirmed_go(client: AsyncClient, context: Context) -> None:
    await ready_version(client, context)
    for name in ("flowers", "late"):
        await running_service(client, context, name=name)
    for confirmed in ("flowers", "", "flowers,late,gone"):
        refused = await client.delete(f"{IRIS}?cascade=true&services={confirmed}")
        problem = is_problem(refused, 409, "other_services")
        assert ("'gone'" if "gone" in confirmed else "'late'") in str(problem["detail"])
    assert (await client.delete(f"{IRIS}?cascade=true&services=late,flowers")).status_code == 202


async def test_it_waits_for_the_end_of_an_upgrade(client: AsyncClient, context: Context) -> None:
    await ready_version(client, context)
    await running_service(client, context, name="flowers")
    old = Presence(context.database, Self("worker:1", "worker", "here", 1, "0.1", "0011"))
    await old.start()
    refused = await client.delete(f"{IRIS}?cascade=true")
    is_problem(refused, 503, "upgrade_under_way")
    assert refused.headers["retry-after"] == "10"
    assert (await client.delete(f"{IRIS}?cascade=true&dry_run=true")).json()["services"] == ["flowers"]
    await old.stop()
    assert (await client.delete(f"{IRIS}?cascade=true")).status_code == 202


async def test_the_model_of_another_tenant_takes_nothing_along(client: AsyncClient, context: Context) -> None:
    await ready_version(client, context)
    await running_service(client, context, name="flowers")
    other = await add_user(context, "acme", "eve")
    for query in ("?cascade", "?cascade&dry_run=true"):
        is_problem(await client.delete(f"{IRIS}{query}", headers=other), 404, "not_found")
    assert (await client.get("/api/v1/services/flowers")).json()["status"] == "running"


async def test_a_deleted_version_takes_its_inspection_and_its_number_with_it(client: AsyncClient) -> None:
    operation = (await upload(client)).json()["id"]
    assert (await client.delete(f"{IRIS}/versions/1")).status_code == 204
    ended = (await client.get(f"/api/v1/operations/{operation}")).json()
    assert (ended["status"], ended["error"]["code"]) == ("canceled", "canceled")
    assert (await upload(client)).json()["target"]["name"] == "2"


async def test_another_tenant_sees_nothing(client: AsyncClient, context: Context) -> None:
    await upload(client)
    other = await add_user(context, "acme", "eve")
    for path in (IRIS, f"{IRIS}/versions", f"{IRIS}/versions/1", f"{IRIS}/versions/1/artifact"):
        assert (await client.get(path, headers=other)).status_code == 404
    assert (await client.get(MODELS, headers=other)).json()["items"] == []
    assert (await client.delete(IRIS, headers=other)).status_code == 404
