"""Datasets in the database, on each that there is: made, published, replaced while they are read, deleted."""

import asyncio

import pytest
from sqlalchemy import select

from core.clock import now_micros
from core.errors import InUse, NameTaken, NotFound, TooLarge
from core.ids import new_id
from state.advance import advance, lock
from state.blobs import touch_blob
from state.commits import commit
from state.database import Database, WriteSession
from state.datasets import NewDataset, create_dataset, delete_dataset, hold_dataset, pinned
from state.datatables import Dataset, DatasetPart
from state.history import By, begin
from state.jobtables import Job, Run
from state.publishing import Output, publish_dataset, withdraw_bad_rows
from state.queries.datasets import Piece, pieces_of, users_of_dataset
from state.sweeping import doom, forget_former_parts
from state.tables import Event, Operation
from state.uploads import IncompleteUpload, begin_upload, hold_upload, put_part, take_parts
from tests.state.rows import ME, TEST, somebody_waits_for_a_lock


async def piece(session: WriteSession, letter: str) -> Piece:
    digest = f"sha256:{letter * 64}"
    await touch_blob(session, digest, 5)
    return Piece(digest, 5, 1)


async def add_run(session: WriteSession, dataset_id: str, number: int = 1) -> Run:
    now = now_micros()
    common = {"tenant_id": ME.tenant_id, "created_at": now, "updated_at": now, "tags": [], "env_names": []}
    job = Job(id=new_id("job"), name=f"j{number}", kind="batch", spec={}, **common)
    run = Run(id=new_id("run"), job_id=job.id, job_name=job.name, number=number, name="", kind="batch", **common)
    run.trigger, run.spec, run.dataset_id = "manual", {}, dataset_id
    await begin(session, job, TEST)
    await begin(session, run, TEST)
    return run


async def publish(
    database: Database, run_id: str, letters: str, *, replace: bool = False, role: str = "output"
) -> Dataset:
    async def work(session: WriteSession) -> Dataset:
        pieces = [await piece(session, letter) for letter in letters]
        said = {"name": "scored", "number": 4, "role": role, "format": "csv", "layout": {}, "columns": []}
        output = Output(run_id=run_id, pieces=pieces, rows=len(letters), replace=replace, **said)  # type: ignore[arg-type]
        return await publish_dataset(session, ME.tenant_id, output, By("worker"))

    return await commit(database, work)


async def test_of_two_with_one_name_one_is_made(database: Database) -> None:
    async def work(session: WriteSession) -> None:
        await create_dataset(session, ME, NewDataset("people", pieces=[await piece(session, "a")]))

    outcomes = await asyncio.gather(*(commit(database, work) for _ in range(3)), return_exceptions=True)
    assert sorted(type(each).__name__ for each in outcomes) == ["NameTaken", "NameTaken", "NoneType"]
    assert any(isinstance(each, NameTaken) for each in outcomes)


async def test_what_two_attempts_of_a_run_publish_is_one_dataset(database: Database) -> None:
    made = await asyncio.gather(*(publish(database, "run_1", "ab") for _ in range(3)))
    async with database.read() as session:
        (row,) = await session.scalars(select(Dataset))
    assert {each.id for each in made} == {row.id}


async def test_parts_that_a_live_run_pinned_stay_until_it_has_ended(database: Database) -> None:
    row = await publish(database, "run_1", "ab")
    async with database.write() as session:
        run = await add_run(session, row.id)
        assert [each.digest[7] for each in (await pinned(session, row)).pieces] == ["a", "b"]
        assert await users_of_dataset(session, row.id) == ["/api/v1/jobs/j1/runs/1"]
    await publish(database, "run_2", "cd", replace=True)
    await publish(database, "run_3", "e", replace=True)
    async with database.write() as session:
        assert [each.digest[7] for each in await pieces_of(session, row.id)] == ["e"]
        ordinals = list(await session.scalars(select(DatasetPart.ordinal).where(DatasetPart.dataset_id == row.id)))
        assert sorted(ordinals) == [-4, -3, -2, -1, 0]
        assert await forget_former_parts(session) == 0
        assert await doom(session, 2**62) == 0
    async with database.write() as session:
        run = await lock(session, Run, run.id)
        await advance(session, run, "stop", TEST)
        await advance(session, run, "stopped", TEST)
    async with database.write() as session:
        assert await forget_former_parts(session) == 4
        assert await doom(session, 2**62) == 4
        told = list(await session.scalars(select(Event.type).where(Event.resource_id == row.id)))
        assert told == ["dataset.ready"] * 3


async def test_a_dataset_that_is_read_is_not_deleted(database: Database) -> None:
    row = await publish(database, "run_1", "a")
    async with database.write() as session:
        await add_run(session, row.id)
        with pytest.raises(InUse):
            await delete_dataset(session, ME, await hold_dataset(session, ME, "scored"))


async def test_a_deletion_ends_what_makes_it_and_leaves_no_reference(database: Database) -> None:
    async with database.write() as session:
        _, operation = await create_dataset(session, ME, NewDataset("people", pieces=[await piece(session, "a")]))
    async with database.write() as session:
        await delete_dataset(session, ME, await hold_dataset(session, ME, "people"))
    async with database.write() as session:
        with pytest.raises(NotFound):
            await hold_dataset(session, ME, "people")
        assert (await session.get_one(Operation, operation.id)).status == "canceled"
        assert await doom(session, 2**62) == 1


async def test_the_parts_of_an_upload_have_no_more_bytes_than_a_dataset_may(database: Database) -> None:
    async with database.write() as session:
        upload = await begin_upload(session, ME, "p.csv", None)
        for number, letter in ((1, "a"), (2, "b"), (1, "c")):
            await put_part(session, upload, number, await piece(session, letter), 10)
        with pytest.raises(TooLarge, match="more than 10 bytes"):
            await put_part(session, upload, 3, await piece(session, "d"), 10)


async def test_an_upload_is_taken_once_and_only_whole(database: Database) -> None:
    async with database.write() as session:
        upload = await begin_upload(session, ME, "p.csv", 10)
        await put_part(session, upload, 2, await piece(session, "b"), 2**40)
    with pytest.raises(IncompleteUpload):
        async with database.write() as session:
            await take_parts(session, await hold_upload(session, ME.tenant_id, upload.id), 100)
    async with database.write() as session:
        held = await hold_upload(session, ME.tenant_id, upload.id)
        for letter in "xa":
            await put_part(session, held, 1, await piece(session, letter), 2**40)

    async def take(number: int) -> str:
        async with database.write() as session:
            held = await hold_upload(session, ME.tenant_id, upload.id)
            pieces = await take_parts(session, held, 100)
            await create_dataset(session, ME, NewDataset(f"d{number}", pieces=pieces, upload_id=upload.id))
        return "".join(each.digest[7] for each in pieces)

    outcomes = await asyncio.gather(*(take(number) for number in range(3)), return_exceptions=True)
    assert sorted(map(str, outcomes))[:1] == ["ab"]
    assert sum(isinstance(each, NotFound) for each in outcomes) == 2


async def test_a_dataset_that_is_deleted_while_another_takes_its_place_is_not_written_to(database: Database) -> None:
    former = await publish(database, "run_1", "a")
    has_begun = asyncio.Event()

    async def delete() -> None:
        async with database.write() as session:
            row = await hold_dataset(session, ME, "scored")
            has_begun.set()
            await somebody_waits_for_a_lock(database)
            await delete_dataset(session, ME, row)

    async def replace() -> Dataset:
        await has_begun.wait()
        return await publish(database, "run_2", "b", replace=True)

    _, made = await asyncio.gather(delete(), replace())
    assert (made.id != former.id, made.status, made.name) == (True, "ready", "scored")
    async with database.read() as session:
        assert (await session.get_one(Dataset, former.id)).status in ("deleting", "deleted")
        assert await pieces_of(session, former.id) == []


async def test_bad_rows_take_the_place_of_bad_rows_only(database: Database) -> None:
    async with database.write() as session:
        mine, _ = await create_dataset(session, ME, NewDataset("scored", pieces=[await piece(session, "a")]))
        await advance(session, mine, "ready", TEST)
    first = await publish(database, "run_1", "b", replace=True, role="bad_rows")
    assert (first.id != mine.id, first.name) == (True, "scored-4")
    async with database.write() as session:
        await delete_dataset(session, ME, await hold_dataset(session, ME, "scored"))
    second = await publish(database, "run_2", "c", replace=True, role="bad_rows")
    third = await publish(database, "run_3", "d", replace=True, role="bad_rows")
    assert (second.name, third.id) == ("scored", second.id)


async def test_bad_rows_go_when_the_output_is_replaced_by_one_without_any(database: Database) -> None:
    output = await publish(database, "run_1", "a", replace=True)
    async with database.write() as session:
        await withdraw_bad_rows(session, ME, output.name)  # that is no dataset of bad rows
        await withdraw_bad_rows(session, ME, "nothing")
        assert (await session.get_one(Dataset, output.id)).status == "ready"
        output.role = "bad_rows"
        await session.merge(output)
        run = await add_run(session, output.id)
        await withdraw_bad_rows(session, ME, output.name)  # a run reads it
        assert (await session.get_one(Dataset, output.id)).status == "ready"
        await advance(session, await lock(session, Run, run.id), "stop", TEST)
        await advance(session, await lock(session, Run, run.id), "stopped", TEST)
        await withdraw_bad_rows(session, ME, output.name)
        assert (await session.get_one(Dataset, output.id)).status == "deleted"
