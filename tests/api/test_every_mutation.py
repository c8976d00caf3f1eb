"""Every route that changes something honours Idempotency-Key and `read_only`: asked of the routes themselves."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from httpx2 import ASGITransport, AsyncClient, Response

from api.app import build_app, openapi_document
from api.dependencies import Context
from api.gateway.description import PREDICT_PATH
from core.clock import now_micros, rfc3339
from core.settings import Settings
from state.claims import end, held, take
from state.history import By
from state.operations import submit
from state.queries.models import find_model
from state.queries.services import find_service
from state.queries.versions import find_version
from tests.api.catalogue import ONNX, add_ready_versions, add_replica, is_running, running_service
from tests.api.platform import LOCAL, add_operation, fails, is_problem, open_context, work_on

V1 = "/api/v1"
FORM = b'--b\r\nContent-Disposition: form-data; name="content"; filename="a.txt"\r\n\r\nhello\r\n--b--\r\n'
STREAMED = ("upload_version", "create_file")
SINCE = "2020-01-01T00:00:00Z"
# What is sent to each route; a name in braces is something that the world below has.
BODIES: Mapping[str, object] = {
    "retry_operations": {"ids": ["{failed}"]},
    "cancel_operations": {"ids": ["{queued}"]},
    "pause_services": {"ids": ["iris"]},
    "resume_services": {"filter": {"status": "paused"}},
    "cancel_predictions": {"filter": {"service": "iris"}},
    "create_model": {"name": "fresh"},
    "update_model": {"description": "said anew"},
    "delete_model": None,
    "set_alias": {"version": "1"},
    "delete_alias": None,
    "upload_version": ONNX,
    "update_version": {"description": "said anew"},
    "delete_version": None,
    "test_version": {"inputs": {"x": [1, 2, 3, 4]}},
    "create_service": {"name": "other", "model": "iris"},
    "put_service": {"model": "iris", "replicas": 2},
    "update_service": {"replicas": 2},
    "delete_service": None,
    "pause_service": None,
    "resume_service": None,
    "restart_service": None,
    "rollback_service": {"revision": 1},
    "restart_replica": None,
    "create_prediction": {"inputs": {"x": [1, 2, 3, 4]}},
    "create_prediction_by_version": {"version": "iris", "input": {"x": [1, 2, 3, 4]}},
    "create_deployment_prediction": {"input": {"x": [1, 2, 3, 4]}},
    "put_prediction": {"inputs": {"x": [1, 2, 3, 4]}},
    "cancel_prediction": None,
    "cancel_prediction_by_verb": None,
    "cancel_operation": None,
    "retry_operation": None,
    "create_file": FORM,
    "delete_file": None,
    "create_webhook": {"url": "https://example.com/"},
    "update_webhook": {"description": "said anew"},
    "delete_webhook": None,
    "rotate_webhook_secret": None,
    "test_webhook": None,
    "redeliver": None,
    "redeliver_range": {"since": SINCE, "status": "all"},
    "create_token": {"name": "another"},
    "revoke_token": None,
    "switch_off": {"reason": "a test"},
    "switch_on": None,
}


@cache
def mutations() -> dict[str, tuple[str, str]]:
    """Method and path of each route that changes something, by its operation id; to predict changes nothing."""
    paths = openapi_document()["paths"]
    assert isinstance(paths, dict)
    return {
        operation["operationId"]: (method.upper(), path)
        for path, methods in paths.items()
        for method, operation in methods.items()
        if method != "get" and path != PREDICT_PATH
    }


def test_each_mutation_is_tried_here() -> None:
    assert set(BODIES) == set(mutations())


@dataclass(frozen=True)
class Made:
    """A database with one of everything that a path can name, and the names."""

    file: Path
    names: Mapping[str, str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Made:
    """Made once; each test has a copy."""
    folder = tmp_path_factory.mktemp("world")
    shutil.copy(migrated, folder / "portside.db")

    async def make() -> Mapping[str, str]:
        async with open_context(Settings(data=folder)) as context:
            transport = ASGITransport(build_app(context))
            async with AsyncClient(transport=transport, base_url="http://localhost") as client:
                return await _make_world(client, context)

    names = asyncio.run(make())
    return Made(folder / "portside.db", names)


@pytest.fixture
def world(made: Made, settings: Settings) -> Mapping[str, str]:
    """What there is in the test's own database."""
    shutil.copy(made.file, settings.data / "portside.db")
    return made.names


@pytest.fixture
async def context(settings: Settings, world: Mapping[str, str]) -> AsyncIterator[Context]:
    """Opened after the copy."""
    async with open_context(settings) as opened:
        yield opened


async def _make_world(client: AsyncClient, context: Context) -> Mapping[str, str]:
    await add_ready_versions(context, 2)
    await running_service(client, context, version=1)
    await client.patch(f"{V1}/services/iris", json={"version": 2})
    await work_on(context, is_running)
    await running_service(client, context, "asleep", version=2)
    await client.post(f"{V1}/services/asleep:pause")
    await work_on(context, is_running)
    failed = await add_operation(context, "spare")
    await work_on(context, fails)
    await client.put(f"{V1}/models/iris/aliases/best", json={"version": "1"})
    webhook = (await client.post(f"{V1}/webhooks", json={"url": "https://example.com/"})).json()["id"]
    delivery = (await client.post(f"{V1}/webhooks/{webhook}:test")).json()["id"]
    await _deliver(context)
    token = (await client.post(f"{V1}/tokens", json={"name": "old"})).json()["id"]
    file = (await client.post(f"{V1}/files", files={"content": ("a.txt", b"hello")})).json()["id"]
    prediction = (await client.post(f"{V1}/services/iris/predictions", json=BODIES["create_prediction"])).json()["id"]
    async with context.database.write() as session:
        replica = await add_replica(session, await find_service(session, LOCAL.tenant_id, "iris"))
        version = await find_version(session, await find_model(session, LOCAL.tenant_id, "iris"), "2")
        queued = await submit(session, LOCAL, "version.test", version, model="iris")
    return {
        "model": "iris",
        "version": "2",
        "alias": "best",
        "service": "iris",
        "replica": replica.id,
        "failed": failed.id,
        "queued": queued.id,
        "webhook_id": webhook,
        "delivery_id": delivery,
        "token_id": token,
        "prediction": prediction,
        "switch": "schedules",
        "owner": "anybody",
        "file_id": file,
    }


async def _deliver(context: Context) -> None:
    taken = await take(context.database, "deliver", "worker", 10_000_000)
    assert taken is not None
    async with context.database.write() as session:
        await end(session, await held(session, taken[0]), "deliver", By("worker"), attempts=[])


def _path(operation_id: str, template: str, world: Mapping[str, str]) -> str:
    own = {
        "delete_model": {"model": "spare"},
        "resume_service": {"service": "asleep"},
        "put_prediction": {"prediction": "prd_own"},
        "delete_version": {"version": "1"},
        "retry_operation": {"operation_id": world["failed"]},
        "cancel_operation": {"operation_id": world["queued"]},
    }.get(operation_id, {})
    return template.format(**{**world, **own})


async def _send(
    client: AsyncClient, operation_id: str, world: Mapping[str, str], query: str = "", key: str | None = "once"
) -> Response:
    method, template = mutations()[operation_id]
    body = BODIES[operation_id]
    headers = {"Prefer": "respond-async"}  # nobody works here: an answer that waits by itself would wait for nothing
    headers |= {} if key is None else {"Idempotency-Key": key}
    content: bytes | None = None
    if isinstance(body, bytes):
        kind = "multipart/form-data; boundary=b" if body is FORM else "application/octet-stream"
        content, headers = body, {**headers, "content-type": kind}
    elif body is not None:
        text = json.dumps(body).replace("{failed}", world["failed"]).replace("{queued}", world["queued"])
        content, headers = text.encode(), {**headers, "content-type": "application/json"}
    path = _path(operation_id, template, world)
    return await client.request(method, path + query, content=content, headers=headers)


@pytest.mark.parametrize("operation_id", sorted(BODIES))
async def test_the_same_key_is_done_once_and_answered_alike(
    client: AsyncClient, world: Mapping[str, str], operation_id: str
) -> None:
    began = now_micros()
    answers = await asyncio.gather(*(_send(client, operation_id, world) for _ in range(3)))
    answers.append(await _send(client, operation_id, world))
    streamed = [answer for answer in answers if answer.status_code != 409]
    assert all(answer.status_code < 300 for answer in streamed), [answer.text for answer in answers]
    fresh = [answer for answer in streamed if "idempotent-replayed" not in answer.headers]
    assert len(fresh) == 1
    assert len({answer.status_code for answer in streamed}) == 1
    named = {answer.headers.get("operation-location") or answer.json()["id"] for answer in streamed}
    assert len(named) == 1
    # Only an upload tells its duplicates to come again: its body streams.
    assert operation_id in STREAMED or len(streamed) == 4
    audit = f"{V1}/operations?count=true&page_size=1&created_at.ge={rfc3339(began)}&kind.not.prefix=batch."
    assert (await client.get(audit)).json()["total"] <= 1


async def test_nothing_is_changed_while_everything_is_read_only(
    client: AsyncClient, context: Context, world: Mapping[str, str]
) -> None:
    await client.put(f"{V1}/system/switches/read_only", json={"reason": "the disk is moved"})
    await context.switches.refresh()
    for operation_id in sorted(set(BODIES) - {"switch_off", "switch_on"}):
        answer = await _send(client, operation_id, world, key=None)
        problem = is_problem(answer, 503, "read_only")
        assert (problem["reason"], answer.headers["retry-after"]) == ("the disk is moved", "60")
    assert (await _send(client, "switch_off", world, key=None)).status_code == 200
    assert (await client.delete(f"{V1}/system/switches/read_only")).status_code == 204
    await context.switches.refresh()
    assert (await _send(client, "update_model", world, key=None)).status_code == 200


async def test_a_key_with_another_query_is_another_request(client: AsyncClient, world: Mapping[str, str]) -> None:
    assert (await _send(client, "delete_model", world, "?cascade=true")).status_code == 204
    assert (await _send(client, "delete_model", world, "?cascade=true")).headers["idempotent-replayed"] == "true"
    is_problem(await _send(client, "delete_model", world, "?cascade=false"), 422, "idempotency_key_reused")
    is_problem(await _send(client, "delete_model", world), 422, "idempotency_key_reused")


async def test_a_large_input_is_stored_once_for_all_duplicates(
    client: AsyncClient, context: Context, world: Mapping[str, str]
) -> None:
    body = {"inputs": {"x": [1] * 40_000}}
    path, headers = f"{V1}/services/iris/predictions", {"Idempotency-Key": "large"}
    answers = await asyncio.gather(*(client.post(path, json=body, headers=headers) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len([digest async for digest in context.store.list()]) == 1
    # A replay needs neither the store nor a service that takes new ones.
    await client.post(f"{V1}/services/iris:pause")
    again = await client.post(path, json=body, headers=headers)
    assert (again.status_code, again.json()["id"]) == (202, answers[0].json()["id"])


async def test_a_form_is_the_same_upload_whatever_its_boundary(client: AsyncClient) -> None:
    ids = set()
    for _ in range(2):
        files = {"file": ("iris.onnx", ONNX)}
        answer = await client.post(
            f"{V1}/models/iris/versions", files=files, data={"description": "d"}, headers={"Idempotency-Key": "form"}
        )
        assert answer.status_code == 202, answer.text
        ids.add(answer.json()["id"])
    assert len(ids) == 1
