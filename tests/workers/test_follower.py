"""A worker rolls services on by itself when what they follow moves."""

from sqlalchemy import select

from state.advance import advance, lock
from state.history import By
from state.tables import Operation, Service, Version
from tests.workers.platform import Platform
from tests.workers.services import running_service


async def test_a_worker_gives_a_service_the_version_that_it_follows(platform: Platform) -> None:
    service = await running_service(platform, live_replicas=1, replicas=1)
    async with platform.database.write() as session:
        row = await lock(session, Service, service.id)
        row.version_ref, row.followed_id = "latest", "ver_of_before"
        version = (await session.scalars(select(Version))).one()
        for move in ("inspect", "accept"):
            await advance(session, version, move, By("test"), **({"signature": {}} if move == "accept" else {}))
    await platform.start({})
    followed = await platform.until_true(service, lambda row: row.followed_id == version.id)
    assert followed.version_ref == "latest"
    async with platform.database.read() as session:
        [operation] = await session.scalars(select(Operation).where(Operation.target_id == service.id))
    assert (operation.kind, operation.actor, operation.tenant_id) == ("service.update", "follow", service.tenant_id)
