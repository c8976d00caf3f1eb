"""Replicas come and go, and the service says so."""

from datetime import timedelta

from core.clock import now_micros
from core.ids import new_id
from state.advance import advance, lock
from state.history import By, begin
from state.migrate import DEFAULT_TENANT
from state.operations import submit
from state.tables import Replica, Service
from tests.workers.platform import WHO, Platform, answering
from workers.outcomes import Wait

BY = By("test")


async def running_service(platform: Platform, replicas: int) -> tuple[Service, list[Replica]]:
    """A service that runs with ready replicas."""
    now = now_micros()
    service = Service(
        id=new_id("svc"), tenant_id=DEFAULT_TENANT, created_at=now, updated_at=now, tags=[], name="iris",
        replicas=replicas, revision_id="rev_1", live_revision_id="rev_1", live_replicas=replicas,
    )  # fmt: skip
    async with platform.database.write() as session:
        await begin(session, service, BY)
        await advance(session, service, "deploy", BY)
        await advance(session, service, "ready", BY)
    return service, [await ready_replica(platform, service) for _ in range(replicas)]


async def ready_replica(platform: Platform, service: Service, revision: str = "rev_1") -> Replica:
    """A replica that answers."""
    replica = Replica(
        id=new_id("rep"), tenant_id=DEFAULT_TENANT, created_at=now_micros(), service_id=service.id,
        revision_id=revision, generation=1,
    )  # fmt: skip
    async with platform.database.write() as session:
        await begin(session, replica, BY)
        await advance(session, replica, "ready", BY)
    return replica


async def test_a_lost_replica_degrades_its_service_with_the_reason_and_a_new_one_recovers_it(
    platform: Platform,
) -> None:
    service, replicas = await running_service(platform, 2)
    await platform.start({})
    async with platform.database.write() as session:
        row = await lock(session, Replica, replicas[0].id)
        await advance(session, row, "fail", By("node", "crashed", "signal 9"))
    degraded = await platform.until(service, "degraded")
    assert degraded.reason == "replica_lost"
    assert degraded.message == f"1 of 2 replicas answer; replica {replicas[0].id} is failed: signal 9"
    await ready_replica(platform, service)
    recovered = await platform.until(service, "running")
    assert (recovered.reason, recovered.message) == (None, None)


async def test_a_ready_replica_of_another_revision_does_not_count(platform: Platform) -> None:
    service, replicas = await running_service(platform, 1)
    await ready_replica(platform, service, "rev_2")
    async with platform.database.write() as session:
        await advance(session, await lock(session, Replica, replicas[0].id), "fail", By("node", "crashed"))
    await platform.start({})
    await platform.until(service, "degraded")


async def test_an_operation_that_waits_for_replicas_is_woken_when_one_changes(platform: Platform) -> None:
    service, replicas = await running_service(platform, 1)
    await platform.start({"service.restart": answering(Wait(timedelta(hours=1), "replicas"))})
    async with platform.database.write() as session:
        held = await lock(session, Service, service.id)
        await advance(session, held, "restart", BY)
        operation = await submit(session, WHO, "service.restart", held)
    waiting = await platform.until_true(operation, lambda row: row.waiting_for is not None)
    async with platform.database.write() as session:
        await advance(session, await lock(session, Replica, replicas[0].id), "unready", BY)
    await platform.until_true(operation, lambda row: row.epoch > waiting.epoch)
