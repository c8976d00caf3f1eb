"""What nobody needs goes, what somebody needs stays."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from core.clock import now_micros, to_micros
from core.ids import id_at, new_id
from state.advance import advance
from state.blobs import DELETED_WITHIN
from state.history import By, begin
from state.migrate import DEFAULT_TENANT
from state.samples import Sample
from state.sweeping import condemn
from state.tables import (
    Blob,
    Circuit,
    Delivery,
    File,
    History,
    IdempotencyKey,
    Operation,
    Replica,
    Service,
    Version,
)
from storage.digests import Digest
from tests.workers.platform import Platform, answering
from workers.outcomes import Done
from workers.sweeper import Sweeper

LONG_AGO = now_micros() - to_micros(timedelta(days=60))
NOW = timedelta(0)


async def stored(platform: Platform, content: bytes, *, row: bool = True) -> str:
    """A blob, touched long ago."""

    async def chunks() -> AsyncIterator[bytes]:
        yield content

    digest = str((await platform.resources.store.put(chunks())).digest)
    if row:
        async with platform.database.write() as session:
            session.add(Blob(digest=digest, size_bytes=len(content), touched_at=LONG_AGO))
    return digest


async def blob(platform: Platform, digest: str) -> Blob | None:
    async with platform.database.read() as session:
        return await session.get(Blob, digest)


async def is_stored(platform: Platform, digest: str) -> bool:
    return Digest.parse(digest) in {found async for found in platform.resources.store.list()}


async def test_a_blob_that_nothing_refers_to_is_doomed_then_deleted(platform: Platform) -> None:
    digest = await stored(platform, b"unused")
    sweeper = Sweeper(platform.resources, doomed_for=NOW)
    await sweeper.look()
    doomed = await blob(platform, digest)
    assert doomed is not None
    assert doomed.doomed_at is not None
    assert await is_stored(platform, digest)
    await sweeper.look()
    assert await blob(platform, digest) is None
    assert not await is_stored(platform, digest)


async def test_a_doomed_blob_that_is_used_again_is_pardoned(platform: Platform) -> None:
    digest = await stored(platform, b"used again")
    sweeper = Sweeper(platform.resources, doomed_for=NOW)
    await sweeper.look()
    await refer(platform, digest)
    await sweeper.look()
    kept = await blob(platform, digest)
    assert kept is not None
    assert kept.doomed_at is None
    assert await is_stored(platform, digest)


async def test_a_sweeper_that_was_paused_after_the_condemnation_does_not_delete_what_was_put_since(
    platform: Platform,
) -> None:
    digest = await stored(platform, b"put again meanwhile")
    paused = Sweeper(platform.resources, doomed_for=NOW)
    await paused.look()
    async with platform.database.write() as session:
        condemned = await condemn(session, now_micros())
    assert condemned is not None
    condemned = replace(condemned, at=condemned.at - to_micros(DELETED_WITHIN))  # time passes
    async with platform.database.write() as session:
        await session.execute(update(Blob).values(doomed_at=None))  # another sweeper has buried it, and a put came
    assert not await paused.execute(condemned)
    assert await is_stored(platform, digest)


async def test_a_blob_of_a_version_stays_and_one_touched_just_now_too(platform: Platform) -> None:
    used, fresh = await stored(platform, b"used"), await stored(platform, b"fresh")
    await refer(platform, used)
    async with platform.database.write() as session:
        await session.execute(update(Blob).where(Blob.digest == fresh).values(touched_at=now_micros()))
    sweeper = Sweeper(platform.resources, doomed_for=NOW)
    for _ in range(2):
        await sweeper.look()
    assert await is_stored(platform, used)
    assert await is_stored(platform, fresh)


async def test_a_sweeper_that_is_young_has_looked_for_bytes_without_a_row(platform: Platform) -> None:
    digest = await stored(platform, b"orphan of a platform that runs for an hour a day", row=False)
    young = Sweeper(platform.resources, idle=NOW, doomed_for=NOW, first_walk=NOW)
    for _ in range(3):
        await young.look()
    assert not await is_stored(platform, digest)


async def test_bytes_without_a_row_are_adopted_and_can_go_later(platform: Platform) -> None:
    digest = await stored(platform, b"orphan", row=False)
    sweeper = Sweeper(platform.resources, idle=NOW, doomed_for=NOW)
    await sweeper.adopt_orphans()
    adopted = await blob(platform, digest)
    assert adopted is not None
    assert adopted.size_bytes == 6
    for _ in range(2):
        await sweeper.look()
    assert not await is_stored(platform, digest)


@pytest.mark.parametrize("is_old", [True, False])
async def test_finished_work_goes_when_it_is_old_with_its_history(platform: Platform, is_old: bool) -> None:
    await platform.start({"version.inspect": answering(Done()), "deliver": answering(Done())})
    operation, delivery = await platform.operation(), await platform.delivery()
    await platform.until(operation, "succeeded")
    await platform.until(delivery, "delivered")
    if is_old:
        await age(platform)
    await Sweeper(platform.resources).look()
    async with platform.database.read() as session:
        left = [
            await session.get(Operation, operation.id),
            (await session.scalars(select(History).where(History.resource_id == operation.id))).first(),
        ]
    assert [row is None for row in left] == [is_old, is_old]


async def test_a_replica_that_ended_long_ago_is_forgotten_and_a_living_one_is_not(platform: Platform) -> None:
    async with platform.database.write() as session:
        now = now_micros()
        service = Service(id=new_id("svc"), tenant_id=DEFAULT_TENANT, created_at=now, updated_at=now, name="iris")
        service.tags, service.replicas = [], 1
        await begin(session, service, By("test"))
        for moves in (["fail"], ["ready"]):
            row = Replica(id=id_at("rep", LONG_AGO), tenant_id=DEFAULT_TENANT, created_at=LONG_AGO, generation=1)
            row.id, row.service_id, row.revision_id = row.id[:-1] + moves[0][0], service.id, "rev"
            await begin(session, row, By("test"))
            await advance(session, row, moves[0], By("test"), ended_at=LONG_AGO if moves == ["fail"] else None)
    await Sweeper(platform.resources).look()
    async with platform.database.read() as session:
        assert (await session.scalars(select(Replica.status))).all() == ["ready"]


async def test_unfinished_work_stays_however_old(platform: Platform) -> None:
    operation = await platform.operation()
    await age(platform)
    await Sweeper(platform.resources).look()
    assert (await platform.now(operation)).status == "queued"


async def test_a_file_goes_at_its_time_and_its_bytes_after_it(platform: Platform) -> None:
    old, young = await stored(platform, b"old"), await stored(platform, b"young")
    async with platform.database.write() as session:
        for digest, at in ((old, LONG_AGO), (young, now_micros())):
            words = {"name": "a.txt", "content_type": "text/plain", "size_bytes": 3, "about": {}}
            session.add(File(id=new_id("file"), tenant_id=DEFAULT_TENANT, created_at=at, digest=digest, **words))
    sweeper = Sweeper(platform.resources, doomed_for=NOW)
    for _ in range(2):
        await sweeper.look()
    async with platform.database.read() as session:
        assert (await session.scalars(select(File.digest))).all() == [young]
    assert (await is_stored(platform, old), await is_stored(platform, young)) == (False, True)


async def test_samples_go_after_the_time_for_which_metrics_are_told(platform: Platform) -> None:
    kept = timedelta(hours=platform.resources.settings.sample_hours)
    async with platform.database.write() as session:
        for age, requests in ((kept * 1.2, 1), (kept * 1.05, 2)):
            at = now_micros() - to_micros(age)
            words = {"tenant_id": DEFAULT_TENANT, "service_id": "svc_1", "requests": requests}
            session.add(Sample(id=id_at("smp", at), created_at=at, **words))
    await Sweeper(platform.resources).look()
    async with platform.database.read() as session:
        assert (await session.scalars(select(Sample.requests))).all() == [2]


async def test_an_old_idempotency_key_is_forgotten(platform: Platform) -> None:
    async with platform.database.write() as session:
        for key, at in (("old", LONG_AGO), ("new", now_micros())):
            scope = {"tenant_id": "ten_default", "method": "POST", "path": "/", "operation_id": "op_1"}
            session.add(IdempotencyKey(**scope, key=key, body_sha256="0" * 64, created_at=at))
    await Sweeper(platform.resources).look()
    async with platform.database.read() as session:
        assert (await session.scalars(select(IdempotencyKey.key))).all() == ["new"]


async def refer(platform: Platform, digest: str) -> None:
    """Make a version use the blob."""
    version = await platform.version()
    async with platform.database.write() as session:
        await session.execute(update(Version).where(Version.id == version.id).values(digest=digest))


async def age(platform: Platform) -> None:
    """Let everything have happened long ago."""
    async with platform.database.write() as session:
        await session.execute(
            update(Operation).values(created_at=LONG_AGO, completed_at=Operation.completed_at - 10**13)
        )
        await session.execute(update(Delivery).values(created_at=LONG_AGO))


async def test_receivers_that_failed_long_ago_are_forgotten(platform: Platform) -> None:
    async with platform.database.write() as session:
        for receiver, updated_at in (("ten_1 https://gone.example", LONG_AGO), ("whk_1", now_micros())):
            session.add(Circuit(receiver=receiver, failures=9, open_until=updated_at, updated_at=updated_at))
    await Sweeper(platform.resources).look()
    async with platform.database.read() as session:
        assert list(await session.scalars(select(Circuit.receiver))) == ["whk_1"]
