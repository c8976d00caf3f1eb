"""The watcher deletes the services whose time is over, and no other."""

from sqlalchemy import select

from core.clock import now_micros
from state.advance import lock
from state.tables import History, Operation, Service
from tests.workers.platform import Platform
from tests.workers.services import running_service
from workers.targets.node import NodeTarget
from workers.watcher import Watcher

HOUR = 3600 * 1_000_000


async def expire(platform: Platform, service: Service, at: int | None) -> None:
    async with platform.database.write() as session:
        (await lock(session, Service, service.id)).expires_at = at


async def look(platform: Platform) -> None:
    await Watcher(platform.database, NodeTarget(platform.database, platform.resources.settings)).look()


async def test_a_service_whose_time_is_over_is_deleted_once_and_its_history_says_by_whom(platform: Platform) -> None:
    service = await running_service(platform, live_replicas=1, replicas=1)
    await expire(platform, service, now_micros() - 1)
    for _ in range(2):
        await look(platform)
    assert (await platform.now(service)).status == "deleting"
    async with platform.database.read() as session:
        operations = list(await session.scalars(select(Operation).where(Operation.target_id == service.id)))
        last = select(History).where(History.resource_id == service.id).order_by(History.sequence.desc())
        change = (await session.scalars(last.limit(1))).one()
    assert [(operation.kind, operation.actor) for operation in operations] == [("service.delete", "expiry")]
    assert (change.move, change.actor, change.operation_id) == ("delete", "expiry", operations[0].id)


async def test_a_service_that_has_time_or_no_end_lives_on(platform: Platform) -> None:
    service = await running_service(platform, live_replicas=1, replicas=1)
    for at in (None, now_micros() + HOUR):
        await expire(platform, service, at)
        await look(platform)
        assert (await platform.now(service)).status == "updating"
