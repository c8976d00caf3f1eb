"""The one function that changes a status, and all that commits with the change."""

import json

import pytest
from sqlalchemy import select, update

from core.errors import IllegalMove, NotFound
from state.advance import advance, lock
from state.claims import end
from state.database import Database
from state.history import By
from state.queries.routing import routing_version
from state.signals import Signal
from state.tables import Delivery, Event, History, Prediction, Service, Version
from tests.state.rows import TEST, make_endpoint, make_prediction, make_service, make_version, take


async def test_a_move_writes_status_history_and_sequence(database: Database) -> None:
    async with database.write() as session:
        version = await make_version(session)
        await advance(session, version, "inspect", By("worker-1", operation_id="op_1"))
        await advance(session, version, "reject", By("worker-1", "onnx_truncated", "it ends early"), task="tensor")
    async with database.read() as session:
        row = (await session.scalars(select(Version))).one()
        rows = (await session.scalars(select(History).order_by(History.sequence))).all()
    assert (row.status, row.reason, row.message, row.task) == ("invalid", "onnx_truncated", "it ends early", "tensor")
    assert [(h.sequence, h.from_status, h.to_status, h.move, h.actor) for h in rows if h.resource_id == row.id] == [
        (1, None, "received", "create", "test"),
        (2, "received", "inspecting", "inspect", "worker-1"),
        (3, "inspecting", "invalid", "reject", "worker-1"),
    ]
    assert rows[-2].operation_id == "op_1"


async def test_an_illegal_move_changes_nothing(database: Database) -> None:
    with pytest.raises(IllegalMove, match=r"version .* is received; 'accept' is not possible"):
        async with database.write() as session:
            await advance(session, await make_version(session), "accept", TEST)
    async with database.read() as session:
        assert (await session.scalars(select(Version))).all() == []


async def test_a_row_that_changed_behind_our_back_is_not_moved(database: Database) -> None:
    async with database.write() as session:
        version = await make_version(session)
    async with database.write() as session:
        stale = await lock(session, Version, version.id)
        await session.execute(
            update(Version).where(Version.id == version.id).values(status="deleting"),
            execution_options={"synchronize_session": False},
        )
        with pytest.raises(IllegalMove, match="is deleting"):
            await advance(session, stale, "inspect", TEST)


async def test_a_missing_row_is_not_found(database: Database) -> None:
    with pytest.raises(NotFound, match="no service has the id 'svc_none'"):
        async with database.write() as session:
            await lock(session, Service, "svc_none")


async def test_events_reach_the_endpoints_that_want_them(database: Database) -> None:
    async with database.write() as session:
        wanting = [await make_endpoint(session, ["*"]), await make_endpoint(session, ["version.ready"])]
        await make_endpoint(session, ["service.running"])
        (await make_endpoint(session, ["*"])).enabled = False
        version = await make_version(session)
        await advance(session, version, "inspect", TEST)
        await advance(session, version, "accept", TEST)
    async with database.read() as session:
        event = (await session.scalars(select(Event))).one()
        deliveries = (await session.scalars(select(Delivery))).all()
    assert (event.type, event.resource_id, event.sequence) == ("version.ready", version.id, 3)
    assert {d.endpoint_id for d in deliveries} == {endpoint.id for endpoint in wanting}
    assert {d.event_id for d in deliveries} == {event.id}
    body = json.loads(deliveries[0].body)
    assert (body["type"], body["data"]["id"], body["data"]["status"]) == ("version.ready", version.id, "ready")
    assert len(deliveries[0].body) < 20_000


@pytest.mark.parametrize(
    ("wanted", "told"),
    [(None, ["processing", "succeeded"]), (["completed"], ["succeeded"]), (["start"], ["processing"]), ([], [])],
)
async def test_a_prediction_tells_its_own_webhook_in_replicates_words(
    database: Database, wanted: list[str] | None, told: list[str]
) -> None:
    async with database.write() as session:
        await make_prediction(session, webhook="http://localhost/mine", webhook_events=wanted)
    claim, _ = await take(database, "predict")
    async with database.write() as session:
        await end(session, await lock(session, Prediction, claim.id), "succeed", TEST, output={"label": "a"})
    async with database.read() as session:
        bodies = [json.loads(d.body) for d in await session.scalars(select(Delivery).order_by(Delivery.created_at))]
    assert sorted(body["status"] for body in bodies) == told
    assert all(body["id"] == claim.id and body["input"] == {"x": 1} for body in bodies)


async def test_every_change_of_a_service_raises_the_routing_version(database: Database) -> None:
    versions = []
    async with database.write() as session:
        versions.append(await routing_version(session))
        service = await make_service(session)
        versions.append(await routing_version(session))
        await advance(session, service, "deploy", TEST)
        versions.append(await routing_version(session))
    assert versions == sorted(set(versions))


async def test_signals_are_told_after_the_commit_and_only_then(database: Database) -> None:
    heard: list[Signal] = []
    database.subscribe(heard.extend)

    async def change_and_fail() -> None:
        async with database.write() as session:
            await make_version(session)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await change_and_fail()
    assert heard == []
    async with database.write() as session:
        version = await make_version(session)
        assert heard == []
    assert Signal("changed", "version", version.id) in heard
