"""A model that is deleted with its services: each step is durable, and comes after what it waits for."""

from datetime import timedelta

from sqlalchemy import select

from core.clock import now_micros
from state.advance import advance, lock
from state.cascading import delete_with_services
from state.cataloguing import hold_model
from state.claims import wake
from state.history import By
from state.queries.operations import find
from state.signals import Signal
from state.tables import Model, Operation, Revision, Service, Version
from tests.workers.platform import WHO, NoTarget, Platform
from tests.workers.services import running_service
from workers.handlers.deletions import delete_model, delete_version
from workers.outcomes import Done, Outcome, Wait
from workers.resources import Held, Resources
from workers.watcher import Watcher

THESE = {"version.delete": delete_version, "model.delete": delete_model}


async def end_at_once(held: Held, resources: Resources) -> Outcome:
    """A service that has no process."""
    return Done(target={"deleted_at": now_micros()})


async def nobody_ends_services(held: Held, resources: Resources) -> Outcome:
    """A service whose processes do not end."""
    return Wait(timedelta(seconds=60), "its processes are still ending")


async def delete_its_model(platform: Platform, service: Service) -> tuple[Operation, Version, Model]:
    """The model's operation, and the version that the service uses."""
    async with platform.database.write() as session:
        used = select(Version).join(Revision, Revision.version_id == Version.id)
        version = (await session.scalars(used.where(Revision.id == service.revision_id))).one()
        model = await session.get_one(Model, version.model_id)
        return await delete_with_services(session, WHO, await hold_model(session, WHO, model.name)), version, model


async def test_versions_and_model_follow_when_their_services_are_gone_whoever_works(platform: Platform) -> None:
    service = await running_service(platform, live_replicas=1, replicas=1)
    operation, version, model = await delete_its_model(platform, service)
    host = await platform.start({**THESE, "service.delete": nobody_ends_services})
    waiting = await platform.until_true(operation, lambda row: row.waiting_for is not None)
    assert waiting.waiting_for == "service iris is still being deleted"
    assert waiting.progress == {"percent": 0, "stage": "deleting", "detail": waiting.waiting_for}
    await platform.until(service, "deleting")
    await host.stop(0.0)
    assert (await platform.now(version)).status == "deleting"
    async with platform.database.write() as session:
        await wake(session, [service.id])
    await platform.start({**THESE, "service.delete": end_at_once})
    ended = await platform.until(operation, "succeeded")
    assert ended.result == operation.arguments
    assert [each["name"] for each in ended.result["services"]] == ["iris"]
    assert [each["version"] for each in ended.result["versions"]] == ["1"]
    ends = [
        (await platform.until(service, "deleted")).deleted_at or 0,
        (await platform.until(version, "deleted")).deleted_at or 0,
        (await platform.until(model, "deleted")).deleted_at or 0,
    ]
    assert ends == sorted(ends)
    assert await platform.moves(version) == ["create", "delete", "deleted"]
    assert await platform.moves(model) == ["create", "delete", "deleted"]


async def test_while_a_service_does_not_end_one_looks_and_ever_less_often(platform: Platform) -> None:
    service = await running_service(platform, live_replicas=1, replicas=1)
    operation, version, _ = await delete_its_model(platform, service)
    async with platform.database.read() as session:
        later = await find(session, WHO.tenant_id, operation.arguments["versions"][0]["operation"])
    await platform.set_operation(operation.id, started_at=now_micros() - 60_000_000)
    began = now_micros() - 1000  # the database's clock counts milliseconds
    await platform.start({**THESE, "service.delete": nobody_ends_services})
    for row, least_s in ((operation, 15), (later, 60)):
        waiting = await platform.until_true(row, lambda found: found.waiting_for is not None)
        assert waiting.due_at >= began + least_s * 1_000_000
    assert (await platform.now(version)).status == "deleting"


async def test_the_watcher_wakes_who_waits_for_a_service_that_is_gone(platform: Platform) -> None:
    service = await running_service(platform, live_replicas=1, replicas=1)
    operation, _, _ = await delete_its_model(platform, service)
    an_hour_from_now = now_micros() + 3_600_000_000
    await platform.set_operation(
        operation.id, due_at=an_hour_from_now, waiting_for="service iris is still being deleted"
    )
    watcher = Watcher(platform.database, NoTarget())
    assert watcher.hears(Signal("changed", "service", service.id))
    await watcher.look()
    assert (await platform.now(operation)).due_at == an_hour_from_now
    async with platform.database.write() as session:
        await advance(session, await lock(session, Service, service.id), "deleted", By("test"))
    watcher.hears(Signal("changed", "service", service.id))
    await watcher.look()
    assert (await platform.now(operation)).due_at <= now_micros()
