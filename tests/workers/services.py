"""A service that runs, as rows: what the tests of its handlers and of the watcher begin with."""

from core.clock import now_micros
from core.ids import new_id
from state.advance import advance
from state.history import By, begin
from state.migrate import DEFAULT_TENANT
from state.tables import Revision, Service
from tests.workers.platform import Platform

TEST = By("test")


async def running_service(platform: Platform, *, live_replicas: int, replicas: int) -> Service:
    """A service that runs `live_replicas` and is asked for `replicas`."""
    version = await platform.version()
    common = {"tenant_id": DEFAULT_TENANT, "created_at": now_micros()}
    service = Service(id=new_id("svc"), updated_at=now_micros(), name="iris", tags=[], replicas=replicas, **common)
    revision = Revision(id=new_id("rev"), number=1, resources={}, env_names=[], version_id=version.id, **common)
    revision.service_id, revision.model_id = service.id, version.model_id
    service.revision_id = service.live_revision_id = revision.id
    service.live_replicas = live_replicas
    async with platform.database.write() as session:
        await begin(session, service, TEST)
        session.add(revision)
        for move in ("deploy", "ready", "restart"):
            await advance(session, service, move, TEST)
    return service
