"""A model that is deleted with its services: each step is durable, and comes after what it waits for."""

from datetime import timedelta

from sqlalchemy import select

from core.clock import now_micros
from state.cascading import delete_with_services
from state.cataloguing import hold_model
from state.claims import wake
from state.tables import Model, Revision, Version
from tests.workers.platform import WHO, Platform
from tests.workers.services import running_service
from workers.handlers.deletions import delete_model, delete_version
from workers.outcomes import Done, Outcome, Wait
from workers.resources import Held, Resources

THESE = {"version.delete": delete_version, "model.delete": delete_model}


async def end_at_once(held: Held, resources: Resources) -> Outcome:
    """A service that has no process."""
    return Done(target={"deleted_at": now_micros()})


async def nobody_ends_services(held: Held, resources: Resources) -> Outcome:
    """A service whose processes do not end."""
    return Wait(timedelta(seconds=60), "its processes are still ending")


async def test_versions_and_model_follow_when_their_services_are_gone_whoever_works(platform: Platform) -> None:
    service = await running_service(platform, live_replicas=1, replicas=1)
    async with platform.database.write() as session:
        used = select(Version).join(Revision, Revision.version_id == Version.id)
        version = (await session.scalars(used.where(Revision.id == service.revision_id))).one()
        model = await session.get_one(Model, version.model_id)
        operation = await delete_with_services(session, WHO, await hold_model(session, WHO, model.name))
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
