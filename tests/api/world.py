"""A platform with one of everything that a path can name, and a body that each mutating route takes."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from httpx2 import ASGITransport, AsyncClient

from api.app import build_app, openapi_document
from api.dependencies import Context
from api.gateway.description import GATEWAY_PATHS
from core.settings import Settings
from state.claims import end, held, take
from state.history import By
from state.operations import submit
from state.queries.models import find_model
from state.queries.services import find_service
from state.queries.versions import find_version
from tests.api.catalogue import ONNX, SIGNATURE, add_ready_versions, add_replica, is_running, running_service
from tests.api.jobs import FITTING, FLOWERS, add_dataset, end_work, make_job, make_run
from tests.api.platform import LOCAL, add_operation, fails, open_context, work_on

V1 = "/api/v1"
FORM = b'--b\r\nContent-Disposition: form-data; name="content"; filename="a.txt"\r\n\r\nhello\r\n--b--\r\n'
DATASET = FORM.replace(b'name="content"; filename="a.txt"', b'name="file"; filename="a.csv"').replace(
    b"--b\r\n", b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nfresh\r\n--b\r\n', 1
)
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
    "test_part": {"inputs": {"x": [1, 2, 3, 4]}},
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
    "create_job": {**FITTING, "name": "fresh"},
    "update_job": {"description": "said anew"},
    "delete_job": None,
    "run_job": {"args": ["a"]},
    "create_run": {"args": ["a"]},
    "set_schedule": {"every": "1h"},
    "delete_schedule": None,
    "pause_schedule": None,
    "resume_schedule": None,
    "backfill_schedule": {"from": "2026-05-01T00:00:00Z", "to": "2026-05-01T00:00:01Z"},
    "pause_run": None,
    "resume_run": None,
    "stop_run": None,
    "delete_run": None,
    "create_file": FORM,
    "delete_file": None,
    "create_dataset": DATASET,
    "update_dataset": {"description": "said anew"},
    "delete_dataset": None,
    "put_dataset_file": b"another",
    "delete_dataset_file": None,
    "create_upload": {"filename": "b.csv"},
    "put_upload_part": b"another",
    "delete_upload": None,
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


# They only answer, with what is too much for a query; a report is a measurement, and repeated as one.
UNCHANGING = ("render_script", "create_report")


@cache
def mutations() -> dict[str, tuple[str, str]]:
    """Method and path of each route that changes something, by its operation id; to predict changes nothing."""
    paths = openapi_document()["paths"]
    assert isinstance(paths, dict)
    return {
        operation["operationId"]: (method.upper(), path)
        for path, methods in paths.items()
        for method, operation in methods.items()
        if method != "get" and path not in GATEWAY_PATHS and operation["operationId"] not in UNCHANGING
    }


@dataclass(frozen=True)
class Made:
    """A database with one of everything that a path can name, and the names."""

    file: Path
    names: Mapping[str, str]


def make_world(folder: Path, migrated: Path) -> Made:
    """Made once in this folder; each test has a copy."""
    shutil.copy(migrated, folder / "portside.db")

    async def make() -> Mapping[str, str]:
        async with open_context(Settings(data=folder)) as context:
            transport = ASGITransport(build_app(context))
            async with AsyncClient(transport=transport, base_url="http://localhost") as client:
                return await _make_world(client, context)

    names = asyncio.run(make())
    return Made(folder / "portside.db", names)


@asynccontextmanager
async def open_copy(settings: Settings, made: Made) -> AsyncIterator[Context]:
    """The world in the folder of one test, which may do with it what it likes."""
    shutil.copy(made.file, settings.data / "portside.db")
    shutil.copytree(made.file.parent / "artifacts", settings.data / "artifacts")
    async with open_context(settings) as opened:
        yield opened


async def _make_world(client: AsyncClient, context: Context) -> Mapping[str, str]:
    await add_ready_versions(context, 3)
    await _make_parts(context)
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
    upload = await _make_data(client)
    prediction = (await client.post(f"{V1}/services/iris/predictions", json=BODIES["create_prediction"])).json()["id"]
    run_id = await _make_runs(client, context)
    async with context.database.write() as session:
        replica = await add_replica(session, await find_service(session, LOCAL.tenant_id, "iris"))
        version = await find_version(session, await find_model(session, LOCAL.tenant_id, "iris"), "2")
        queued = await submit(session, LOCAL, "version.test", version, model="iris")
    return {
        "model": "iris",
        "version": "2",
        "part": "de",
        "alias": "best",
        "service": "iris",
        "replica": replica.id,
        "failed": failed.id,
        "operation_id": failed.id,
        "event_id": (await client.get(f"{V1}/events?page_size=1")).json()["items"][0]["id"],
        "queued": queued.id,
        "webhook_id": webhook,
        "delivery_id": delivery,
        "token_id": token,
        "prediction": prediction,
        "switch": "schedules",
        "owner": "anybody",
        "file_id": file,
        "job": "flowers",
        "run": "1",
        "run_id": run_id,
        "dataset": "pictures",
        "path": "a.png",
        "upload_id": upload,
        "number": "1",
    }


async def _make_runs(client: AsyncClient, context: Context) -> str:
    """The job `flowers` with a queued run, whose id is answered, a paused and an ended one; `idle` has none."""
    await add_dataset(context)
    await make_job(client, "idle")
    await make_job(client, version="1", schedule={"cron": "0 2 * * *"})
    for _ in range(3):
        await make_run(client)
    for number, verb in ((2, "pause"), (3, "stop")):
        await client.post(f"{FLOWERS}/runs/{number}:{verb}")
        await end_work(context, "control")
    return str((await client.get(f"{FLOWERS}/runs/1")).json()["id"])


async def _make_data(client: AsyncClient) -> str:
    """A dataset of one file, and an upload of one part."""
    await client.post(f"{V1}/datasets", json={"name": "pictures", "kind": "files"})
    await client.put(f"{V1}/datasets/pictures/files/a.png", content=b"picture")
    upload: str = (await client.post(f"{V1}/uploads", json={})).json()["id"]
    await client.put(f"{V1}/uploads/{upload}/parts/1", content=b"part")
    return upload


async def _make_parts(context: Context) -> None:
    """Version 2 is one of several models; their bytes are nowhere."""
    part = {"file": "de.onnx", "digest": f"sha256:{'1' * 64}", "size_bytes": 1, "offset_bytes": 0, "packed_bytes": 1}
    part |= {"description": None, "is_deflated": False, "is_default": True, "signature": SIGNATURE}
    signature = {**SIGNATURE, "parts": [{"key": "de", **part}, {"key": "fr", **part, "is_default": False}]}
    async with context.database.write() as session:
        version = await find_version(session, await find_model(session, LOCAL.tenant_id, "iris"), "2")
        version.signature, version.format = signature, "parts"


async def _deliver(context: Context) -> None:
    taken = await take(context.database, "deliver", "worker", 10_000_000)
    assert taken is not None
    async with context.database.write() as session:
        await end(session, await held(session, taken[0]), "deliver", By("worker"), attempts=[])


def path_of(operation_id: str, template: str, world: Mapping[str, str]) -> str:
    own = {
        "delete_model": {"model": "spare"},
        "resume_service": {"service": "asleep"},
        "put_prediction": {"prediction": "prd_own"},
        "delete_version": {"version": "3"},
        "delete_job": {"job": "idle"},
        "resume_run": {"run": "2"},
        "delete_run": {"run": "3"},
        "retry_operation": {"operation_id": world["failed"]},
        "cancel_operation": {"operation_id": world["queued"]},
    }.get(operation_id, {})
    return template.format(**{**world, **own})
