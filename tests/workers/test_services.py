"""The handlers of services on a real database and the real target; no node runs, so no replica ever comes."""

from dataclasses import replace

from core.clock import now_micros
from core.ids import new_id
from state.advance import advance
from state.claims import take
from state.history import By, begin
from state.migrate import DEFAULT_TENANT
from state.operations import Who, submit
from state.tables import Placement, Revision, Service
from tests.workers.platform import Platform
from workers.handlers.services import restart
from workers.outcomes import Failed
from workers.resources import Held
from workers.targets.node import NodeTarget

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


async def test_a_failed_restart_that_was_to_grow_goes_back_to_the_size_that_ran(platform: Platform) -> None:
    target = NodeTarget(platform.database, platform.resources.settings)
    resources = replace(platform.resources, target=target)
    service = await running_service(platform, live_replicas=1, replicas=2)
    async with platform.database.write() as session:
        operation = await submit(session, Who(DEFAULT_TENANT, "test", "admin"), "service.restart", service)
        operation.started_at = 1  # its time is over
    taken = await take(platform.database, "control", "test", 10_000_000)
    assert taken is not None
    outcome = await restart(Held(*taken), resources)
    assert isinstance(outcome, Failed)
    assert outcome.target["replicas"] == 1
    async with platform.database.read() as session:
        placement = await session.get_one(Placement, service.id)
    assert placement.replicas == 1
