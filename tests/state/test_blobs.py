"""A sweeper and an upload of the same bytes: whichever order their steps take, no reference points at nothing."""

import asyncio

import pytest
from sqlalchemy import update

from core.clock import Micros, now_micros, to_micros
from core.errors import StoreUnavailable
from state.blobs import CONDEMNED_FOR, hold_blob, insert_blob, touch_blob, touch_blobs
from state.database import Database
from state.sweeping import Condemned, adopt, bury, condemn, doom
from state.tables import Blob

DIGEST = f"sha256:{'b' * 64}"
LATER = 2**62


async def put(database: Database) -> None:
    """What an upload commits once its bytes are in the store."""
    async with database.write() as session:
        await touch_blob(session, DIGEST, 3)


async def refer(database: Database) -> None:
    """What the transaction of a version does first."""
    async with database.write() as session:
        await hold_blob(session, DIGEST)


async def doomed(database: Database) -> int:
    async with database.write() as session:
        return await doom(session, LATER)


async def condemned(database: Database) -> Condemned | None:
    async with database.write() as session:
        return await condemn(session, LATER)


async def buried(database: Database, blob: Condemned) -> bool:
    async with database.write() as session:
        return await bury(session, blob)


async def row(database: Database) -> Blob | None:
    async with database.read() as session:
        return await session.get(Blob, DIGEST)


async def let_pass(database: Database, micros: Micros) -> None:
    """Let the condemnation have happened so much earlier."""
    async with database.write() as session:
        await session.execute(update(Blob).where(Blob.doomed_at < 0).values(doomed_at=Blob.doomed_at + micros))


async def test_a_put_after_the_doom_saves_the_blob(database: Database) -> None:
    await put(database)
    assert await doomed(database) == 1
    await put(database)
    assert await condemned(database) is None


async def test_a_reference_after_the_doom_saves_the_blob(database: Database) -> None:
    await put(database)
    assert await doomed(database) == 1
    await refer(database)
    assert await condemned(database) is None
    found = await row(database)
    assert found is not None
    assert found.doomed_at is None


async def test_a_put_and_a_reference_after_the_condemnation_are_refused_until_the_burial(database: Database) -> None:
    await put(database)
    await doomed(database)
    blob = await condemned(database)
    assert blob is not None
    for step in (put, refer):
        with pytest.raises(StoreUnavailable, match="send the file again"):
            await step(database)
    assert await buried(database, blob)
    with pytest.raises(StoreUnavailable, match="send the file again"):
        await refer(database)
    await put(database)
    await refer(database)
    assert await condemned(database) is None


async def test_a_blob_is_condemned_by_one_sweeper_only(database: Database) -> None:
    await put(database)
    await doomed(database)
    found = await asyncio.gather(*(condemned(database) for _ in range(5)))
    assert len([blob for blob in found if blob is not None]) == 1


async def test_what_a_dead_sweeper_condemned_can_be_put_again_after_a_minute_and_it_cannot_bury_it(
    database: Database,
) -> None:
    await put(database)
    await doomed(database)
    blob = await condemned(database)
    assert blob is not None
    await let_pass(database, to_micros(CONDEMNED_FOR))
    await put(database)
    await refer(database)
    assert not await buried(database, blob)
    assert await row(database) is not None


async def test_what_a_dead_sweeper_condemned_is_taken_over_by_the_next_after_a_minute(database: Database) -> None:
    await put(database)
    await doomed(database)
    first = await condemned(database)
    assert first is not None
    assert await condemned(database) is None, "its sweeper may still be deleting it"
    await let_pass(database, to_micros(CONDEMNED_FOR))
    second = await condemned(database)
    assert second is not None
    assert not await buried(database, first)
    assert await buried(database, second)


@pytest.mark.parametrize("sweep", [doomed, condemned], ids=["doom", "condemn"])
async def test_a_sweeper_that_comes_while_a_reference_is_being_committed_waits_and_spares_the_blob(
    database: Database, sweep: object
) -> None:
    await put(database)
    if sweep is condemned:
        await doomed(database)
    long_ago = now_micros() - 10**12
    async with database.write() as session:
        await session.execute(update(Blob).values(touched_at=long_ago))
    holding, may_commit = asyncio.Event(), asyncio.Event()

    async def refer_slowly() -> None:
        async with database.write() as session:
            await hold_blob(session, DIGEST)
            holding.set()
            await may_commit.wait()

    async def look() -> int | Condemned | None:
        async with database.write() as session:
            return await (condemn(session, LATER) if sweep is condemned else doom(session, now_micros() - 10**9))

    reference = asyncio.create_task(refer_slowly())
    await asyncio.wait_for(holding.wait(), 60)
    looking = asyncio.create_task(look())
    await asyncio.sleep(0.05)
    assert not looking.done()
    may_commit.set()
    await reference
    assert not await looking
    found = await row(database)
    assert found is not None
    assert found.doomed_at is None


async def test_an_orphan_is_adopted_while_its_upload_touches_it(database: Database) -> None:
    async def adopted() -> int:
        async with database.write() as session:
            return await adopt(session, {DIGEST: 3})

    await asyncio.gather(adopted(), put(database), put(database), adopted())
    found = await row(database)
    assert found is not None
    assert (found.size_bytes, found.doomed_at) == (3, None)


async def test_a_row_that_is_there_stays_as_it_is_when_its_bytes_are_found(database: Database) -> None:
    await put(database)
    async with database.write() as session:
        await insert_blob(session, DIGEST, 99, 1)
    found = await row(database)
    assert found is not None
    assert found.size_bytes == 3


async def test_many_blobs_are_touched_together_unless_one_of_them_is_being_deleted(database: Database) -> None:
    sizes = {DIGEST: 3, f"sha256:{'c' * 64}": 4}

    async def touched() -> None:
        async with database.write() as session:
            await touch_blobs(session, sizes)

    await put(database)
    assert await doomed(database) == 1
    await touched()
    found = await row(database)
    assert found is not None
    assert found.doomed_at is None
    assert await doomed(database) == len(sizes)
    assert await condemned(database) is not None
    with pytest.raises(StoreUnavailable):
        await touched()
    await let_pass(database, to_micros(CONDEMNED_FOR))
    await touched()
    assert await doomed(database) == len(sizes)
