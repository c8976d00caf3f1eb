"""What a process writes whose clock is not the database's: hosts differ, and the database's clock says what is due."""

import time
from collections.abc import Sequence
from datetime import timedelta

import pytest
from sqlalchemy import event, select, update

from core.clock import Micros, now_micros, to_micros
from core.errors import StoreUnavailable
from core.ids import new_id
from state import claims, operations
from state.blobs import CONDEMNED_FOR, insert_blob, touch_blob
from state.cataloguing import Description
from state.circuits import TRIPS_AFTER, WAITING, note_failed
from state.database import Database, WriteSession, db_now
from state.deploying import change_service, create_service, hold_service
from state.events import send
from state.migrate import DEFAULT_TENANT
from state.predicting import Submission, submit_prediction
from state.schedules import Schedule
from state.sweeping import condemn, doom
from state.tables import Blob, Delivery, Event, Prediction, Service
from state.ticking import set_schedule
from state.wishes import Expiry, Wish
from tests.state.rows import LEASE, ME, VAULT, make_service, make_version, submit_inspection
from tests.state.test_following import iris
from tests.state.test_ticking import make_job

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
LIMIT = timedelta(seconds=30)  # how long what was just written may have been under way on a busy machine


@pytest.fixture(params=[HOUR, -HOUR], ids=["ahead", "behind"])
def apart(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> timedelta:
    """How far this process' clock is from the database's."""
    wrong: timedelta = request.param
    of_this_host = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: of_this_host() + to_micros(wrong) * 1000)
    return wrong


async def left(database: Database, until: Micros | None) -> timedelta:
    """How long it is until then, by the database's clock."""
    assert until is not None
    async with database.read() as session:
        now = await session.scalar(select(db_now()))
    return timedelta(microseconds=until - (now or 0))


def is_about(found: timedelta, meant: timedelta) -> bool:
    return meant - LIMIT < found <= meant


async def make_delivery(session: WriteSession) -> Delivery:
    common = {"tenant_id": DEFAULT_TENANT, "created_at": now_micros(), "sequence": 1, "data": {}}
    told = Event(id=new_id("evt"), type="version.ready", resource_type="version", resource_id="ver_1", **common)
    session.append(told)
    return await send(session, told, "{}", "https://example.com/hook", "whk_1")


@pytest.mark.usefixtures("apart")
async def test_what_is_submitted_is_due_at_once(database: Database) -> None:
    await submit_inspection(database)
    async with database.write() as session:
        service = await make_service(session)
        # A release before this one wrote the time itself.
        session.add(Prediction(**waiting_prediction(service, due_at=1)))
        session.add(Prediction(**waiting_prediction(service)))
        await make_delivery(session)
    for lane, count in {"control": 1, "predict": 2, "deliver": 1}.items():
        for _ in range(count):
            assert await claims.take(database, lane, "one", LEASE) is not None, lane


def waiting_prediction(service: Service, **more: object) -> dict[str, object]:
    names = {"service_id": service.id, "service_name": "iris", "model_name": "iris", "version": "1"}
    common = {"tenant_id": DEFAULT_TENANT, "lane": "predict", "status": "starting", "base_url": "http://localhost"}
    return {"id": new_id("prd"), "created_at": 1, "since": 1, "body": {}, **names, **common, **more}


@pytest.mark.usefixtures("apart")
async def test_a_deadline_counts_from_the_submission_by_the_database_clock(database: Database) -> None:
    async with database.write() as session:
        await iris(session)
        service, _ = await create_service(session, ME, VAULT, "iris", Wish(model="iris"), Description())
    wanted = Submission({"inputs": {}}, None, "http://localhost", cancel_after=MINUTE)
    async with database.write() as session:
        made = await submit_prediction(session, ME, service, wanted)
    async with database.read() as session:
        row = await session.get_one(Prediction, made.id)
    assert is_about(await left(database, row.deadline_at), MINUTE)


async def test_a_service_ends_as_long_after_the_wish_as_it_says(database: Database, apart: timedelta) -> None:
    async with database.write() as session:
        await iris(session)
        await create_service(session, ME, VAULT, "iris", Wish(model="iris", expiry=Expiry(HOUR)), Description())
    assert is_about(await left(database, await expiry(database)), HOUR), apart
    async with database.write() as session:
        service = await hold_service(session, ME, "iris")
        await change_service(session, ME, VAULT, service, Wish(expiry=Expiry(2 * HOUR)))
    assert is_about(await left(database, await expiry(database)), 2 * HOUR), apart


async def expiry(database: Database) -> Micros | None:
    async with database.read() as session:
        return await session.scalar(select(Service.expires_at))


@pytest.mark.usefixtures("apart")
async def test_a_receiver_is_left_alone_by_the_database_clock(database: Database) -> None:
    until: Micros | None = None
    async with database.write() as session:
        first = await make_delivery(session)
    async with database.write() as session:
        for _ in range(TRIPS_AFTER):
            until = await note_failed(session, "whk_1")
    assert timedelta(seconds=1) < await left(database, until) < MINUTE
    async with database.write() as session:
        second = await make_delivery(session)
    async with database.read() as session:
        rows: Sequence[Delivery] = list(await session.scalars(select(Delivery)))
    assert {row.id for row in rows} == {first.id, second.id}
    assert {(row.due_at, row.waiting_for) for row in rows} == {(until, WAITING)}


@pytest.mark.usefixtures("apart")
async def test_an_interval_without_a_start_counts_from_the_database_clock(database: Database) -> None:
    async with database.write() as session:
        job = await make_job(session)
        await set_schedule(session, job, lambda now: Schedule(every_s=60, anchor=now), paused=False)
    assert is_about(await left(database, job.next_at), MINUTE)


async def test_a_submission_costs_no_question_about_the_time(database: Database) -> None:
    async with database.write() as session:
        version = await make_version(session)
        said: list[str] = []
        connection = (await session.connection()).sync_connection
        event.listen(connection, "before_cursor_execute", lambda *given: said.append(str(given[2])))
        operation = await operations.submit(session, ME, "version.inspect", version)
        await session.flush()
    assert [text.split()[0] for text in said] == ["INSERT"]
    async with database.read() as session:
        assert (await session.get_one(type(operation), operation.id)).due_at > 0


@pytest.mark.usefixtures("apart")
async def test_a_put_knows_when_a_sweeper_elsewhere_condemned_a_blob(database: Database) -> None:
    digest = f"sha256:{'ab' * 32}"
    async with database.write() as session:
        await insert_blob(session, digest, 3, 1)
    async with database.write() as session:
        await doom(session, now_micros())
    async with database.write() as session:
        condemned = await condemn(session, now_micros() + 1)
    assert condemned is not None
    assert is_about(await left(database, to_micros(LIMIT) - condemned.doomed_at), LIMIT)
    async with database.write() as session:
        with pytest.raises(StoreUnavailable):
            await touch_blob(session, digest, 3)
    async with database.write() as session:
        await session.execute(update(Blob).values(doomed_at=Blob.doomed_at + to_micros(CONDEMNED_FOR)))
    async with database.write() as session:
        await touch_blob(session, digest, 3)  # nobody deletes it any more
