"""What belongs to a tenant is not there for another, whatever route names it; what a script's token may not do."""

import json
from collections.abc import AsyncIterator, Mapping

import pytest
from fastapi import FastAPI
from httpx2 import AsyncClient, Response

from api.app import openapi_document
from api.dependencies import Context
from api.gateway.description import GATEWAY_PATHS
from api.script_scope import MAY
from core.secrets import hash_token
from core.settings import Settings
from state.jobtables import RunProcess
from state.migrate import DEFAULT_TENANT
from tests.api.jobs import FITTING
from tests.api.platform import add_user, is_problem
from tests.api.world import BODIES, V1, Made, open_copy, path_of

Headers = Mapping[str, str]
MAKES_ITS_OWN = "upload_version"  # a model of that name, where there is none
OTHERWISE: Mapping[str, int] = {"get_switch": 200, "switch_off": 403, "switch_on": 403}  # the installation's
SENT: Mapping[str, object] = {**BODIES, "create_report": {"values": {"loss": 1}}}
SCRIPT = {"Authorization": "Bearer pst_script"}


@pytest.fixture
async def context(settings: Settings, made: Made) -> AsyncIterator[Context]:
    async with open_copy(settings, made) as opened:
        yield opened


@pytest.fixture
async def other(context: Context) -> Headers:
    """Who asks: an admin of another tenant."""
    return await add_user(context, "acme", "ann")


@pytest.fixture
async def script(context: Context, made: Made) -> Headers:
    """Who asks: a script that runs now."""
    spec = {"run_id": made.names["run_id"], "tenant_id": DEFAULT_TENANT, "generation": 1, "wanted": True, "spec": {}}
    async with context.database.write() as session:
        session.add(RunProcess(**spec, epoch=1, pid=4711, token_hash=hash_token("pst_script")))
    await context.authenticator.refresh()
    return SCRIPT


async def ask(client: AsyncClient, method: str, path: str, body: object, headers: Headers) -> Response:
    """Send it as the route wants it."""
    if isinstance(body, bytes):
        is_form = body.startswith(b"--b")
        kind = "multipart/form-data; boundary=b" if is_form else "application/octet-stream"
        return await client.request(method, path, content=body, headers={**headers, "content-type": kind})
    return await client.request(method, path, json=body, headers=headers)


async def test_whatever_a_path_names_is_not_there_for_another_tenant(
    client: AsyncClient, made: Made, other: Headers
) -> None:
    paths = openapi_document()["paths"]
    assert isinstance(paths, dict)
    seen, faults = 0, []
    for template, methods in paths.items():
        if "{" not in template or template in GATEWAY_PATHS:
            continue
        for method, operation in methods.items():
            name = operation["operationId"]
            if name == MAKES_ITS_OWN:
                continue
            answer = await ask(client, method, path_of(name, template, made.names), SENT.get(name), other)
            if answer.status_code != OTHERWISE.get(name, 404):
                faults.append((name, answer.status_code, answer.text[:200]))
            seen += 1
    assert not faults
    assert seen > 100


async def test_lists_have_nothing_of_another_tenants(client: AsyncClient, other: Headers) -> None:
    paths = openapi_document()["paths"]
    assert isinstance(paths, dict)
    for path, methods in paths.items():
        if "{" in path or "get" not in methods or not methods["get"]["operationId"].startswith("list_"):
            continue
        mine, theirs = await client.get(path), await client.get(path, headers=other)
        if path not in (f"{V1}/runtimes", f"{V1}/tokens", f"{V1}/system/switches"):
            kept = "results" if "results" in theirs.json() else "items"
            assert theirs.json()[kept] == [], path
            assert mine.json()[kept] or path == f"{V1}/datasets/pictures/files", path


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("jobs", {**FITTING, "name": "mine"}, "/model"),
        ("datasets", {"name": "mine", "dataset": "flowers"}, "/dataset"),
        ("datasets", {"name": "mine", "upload": "{upload_id}"}, "/upload"),
        ("services", {"name": "mine", "model": "iris"}, "/model"),
        ("jobs", {"name": "mine", "kind": "script", "script": {"file": "{file_id}"}}, "/script/file"),
        ("jobs", {"name": "mine", "kind": "script", "script": {"source": "1"}, "after": "flowers"}, "/after"),
        (
            "jobs",
            {"name": "mine", "kind": "script", "script": {"source": "1"}, "inputs": {"datasets": {"a": "flowers"}}},
            "/inputs/datasets/a",
        ),
        (
            "jobs",
            {"name": "mine", "kind": "script", "script": {"source": "1"}, "inputs": {"models": {"a": "iris/2"}}},
            "/inputs/models/a",
        ),
    ],
    ids=["a model", "a copy", "an upload", "a service's model", "a file", "a job before", "a dataset", "a version"],
)
async def test_a_body_names_nothing_of_another_tenants(
    client: AsyncClient, made: Made, other: Headers, path: str, body: object, pointer: str
) -> None:
    text = json.dumps(body)
    for name in ("upload_id", "file_id"):
        text = text.replace(f"{{{name}}}", made.names[name])
    answer = await client.post(f"{V1}/{path}", content=text, headers={**other, "content-type": "application/json"})
    problem = is_problem(answer, 404, "not_found")
    assert isinstance(problem["errors"], list)
    assert problem["errors"][0]["pointer"] == pointer


async def test_a_script_adds_and_asks_and_changes_nothing_else(
    app: FastAPI, client: AsyncClient, script: Headers
) -> None:
    changes = {
        (method.upper(), path)
        for path, methods in app.openapi()["paths"].items()
        if path not in GATEWAY_PATHS
        for method in methods
        if method in ("post", "put", "patch", "delete")
    }
    refused = set()
    for method, path in changes:
        answer = await client.request(method, path.replace("{", "").replace("}", ""), headers=script)
        if answer.status_code == 403 and answer.json()["code"] == "not_for_scripts":
            refused.add((method, path))
    assert changes - refused == {(method, path.replace(":path", "")) for method, path in MAY}


async def test_a_script_puts_no_file_in_the_place_of_another(client: AsyncClient, script: Headers) -> None:
    kind = {"content-type": "application/octet-stream"}
    assert (await client.post(f"{V1}/datasets", json={"name": "photos", "kind": "files"})).status_code == 201
    at = f"{V1}/datasets/photos/files/a.png"
    assert (await client.put(at, content=b"a", headers=kind)).status_code == 200
    again = await client.put(at, content=b"a", headers={**script, **kind})
    other = await client.put(at, content=b"b", headers={**script, **kind})
    new = await client.put(at.replace("a.png", "b.png"), content=b"b", headers={**script, **kind})
    assert (again.status_code, new.status_code) == (200, 200)
    is_problem(other, 403, "not_for_scripts")
    assert (await client.get(at)).content == b"a"


async def test_the_token_of_a_script_is_a_members_and_ends_with_its_process(
    client: AsyncClient, context: Context, made: Made, script: Headers
) -> None:
    me = (await client.get(f"{V1}/me", headers=script)).json()
    assert (me["user"], me["role"]) == ("run:flowers/1", "member")
    is_problem(await client.get(f"{V1}/webhooks/default/secret", headers=script), 403, "forbidden")
    report = {"values": {"loss": 1}}
    mine, others = f"{V1}/jobs/flowers/runs/1/reports", f"{V1}/jobs/flowers/runs/2/reports"
    assert (await client.post(mine, json=report, headers=script)).status_code == 200
    is_problem(await client.post(others, json=report, headers=script), 403, "not_your_run")
    async with context.database.write() as session:
        process = await session.get_one(RunProcess, made.names["run_id"])
        process.token_hash = process.pid = None
    await context.authenticator.refresh()
    is_problem(await client.get(f"{V1}/me", headers=script), 401, "unauthenticated")
