"""What the tests of models, services and predictions share: example files, ready versions, what was left behind."""

from pathlib import Path

from httpx2 import AsyncClient, Response

from api.dependencies import Context
from core.clock import now_micros
from core.ids import new_id
from state.advance import advance
from state.cataloguing import Description, NewVersion, add_version, create_model
from state.claims import end
from state.database import WriteSession
from state.endings import Locked, succeed
from state.history import By, begin
from state.tables import Replica, Service
from tests.api.platform import LOCAL, work_on

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ONNX = (EXAMPLES / "iris.onnx").read_bytes()
PMML = (EXAMPLES / "iris.pmml").read_bytes()
OCTETS = {"content-type": "application/octet-stream"}
SIGNATURE = {
    "format": "onnx",
    "format_version": {"ir_version": 8, "opsets": {"ai.onnx": 17}},
    "engine": "onnxruntime",
    "task": "classification",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
    "outputs": [],
    "targets": [],
}


async def upload(client: AsyncClient, model: str = "iris", content: bytes = ONNX) -> Response:
    """A raw upload that is accepted."""
    answer = await client.post(f"/api/v1/models/{model}/versions", content=content, headers=OCTETS)
    assert answer.status_code == 202, answer.text
    return answer


async def is_accepted(session: WriteSession, work: Locked) -> None:
    """The inspection found a model."""
    target = {"signature": SIGNATURE, "task": getattr(work.target, "task", None) or "classification"}
    await succeed(session, work, By("worker"), result={}, row={}, target=target)


async def ready_version(client: AsyncClient, context: Context, model: str = "iris", content: bytes = ONNX) -> None:
    """One more version of the model, uploaded and inspected."""
    await upload(client, model, content)
    await work_on(context, is_accepted)


async def add_ready_versions(context: Context, count: int) -> None:
    """The model `iris` with so many ready versions: rows only, in one transaction, for tests that read no bytes."""
    by = By("worker")
    async with context.database.write() as session:
        model = await create_model(session, LOCAL, "iris", Description())
        for _ in range(count):
            wanted = NewVersion(digest=f"sha256:{'0' * 64}", size_bytes=1, format="onnx")
            version, operation = await add_version(session, LOCAL, model, wanted)
            await advance(session, version, "inspect", by)
            await advance(session, version, "accept", by, signature=SIGNATURE, task="classification")
            await end(session, operation, "succeed", by, result={})


async def is_running(session: WriteSession, work: Locked) -> None:
    """What was asked of the service is there."""
    target: dict[str, object] = {}
    if work.target is not None and getattr(work.row, "kind", "") != "service.pause":
        revision = getattr(work.target, "revision_id", None)
        target = {"live_revision_id": revision, "live_replicas": getattr(work.target, "replicas", None)}
    await succeed(session, work, By("worker"), result={}, row={}, target=target)


async def running_service(client: AsyncClient, context: Context, name: str = "iris", **body: object) -> None:
    """A service of the model `iris` whose deployment has succeeded."""
    answer = await client.post("/api/v1/services", json={"name": name, "model": "iris", **body})
    assert answer.status_code == 202, answer.text
    await work_on(context, is_running)


async def add_replica(session: WriteSession, service: Service) -> Replica:
    """A replica of the live revision that only starts: no node runs here."""
    replica = Replica(id=new_id("rep"), tenant_id=service.tenant_id, created_at=now_micros(), generation=1)
    replica.service_id, replica.revision_id = service.id, service.live_revision_id or ""
    await begin(session, replica, By("node"))
    return replica


async def left_behind(context: Context) -> list[str]:
    """Blobs in the store and files of uploads that never ended."""
    blobs = [str(digest) async for digest in context.store.list()]
    partial = context.settings.data / "artifacts" / "partial"
    return [*blobs, *(file.name for file in (partial.iterdir() if partial.is_dir() else ()))]
