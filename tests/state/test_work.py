"""What the relay, the watcher and the sweeper ask."""

from sqlalchemy import update

from core.clock import now_micros
from state.advance import advance
from state.database import Database
from state.history import By, begin
from state.queries.watching import OutOfStep, out_of_step, services_of, why_not_ready
from state.queries.work import Outlook, outlooks
from state.sweeping import doom, forget_old, pardon
from state.tables import Operation, Replica
from tests.state.rows import TEST, make_service, submit_inspection, take


async def test_an_empty_lane_has_no_outlook(database: Database) -> None:
    async with database.read() as session:
        found = (await outlooks(session, {"control": 5}))["control"]
    assert (list(found.due), found.next_in_micros) == ([], None)


async def test_what_is_due_and_when_the_next_is(database: Database) -> None:
    first, second = await submit_inspection(database, "a"), await submit_inspection(database, "b")
    later = now_micros() + 60_000_000
    async with database.write() as session:
        await session.execute(update(Operation).where(Operation.id == second.id).values(due_at=later))
    async with database.read() as session:
        found = (await outlooks(session, {"control": 5}))["control"]
    assert list(found.due) == [first.id]
    assert later - now_micros() <= (found.next_in_micros or 0) <= 60_000_000
    await take(database)
    async with database.read() as session:
        assert list((await outlooks(session, {"control": 5}))["control"].due) == []


async def test_lanes_are_asked_together_and_answered_each(database: Database) -> None:
    due = await submit_inspection(database)
    async with database.read() as session:
        found = await outlooks(session, {"predict": 3, "control": 3, "fetch": 3})
        nothing = await outlooks(session, {})
    assert {lane: list(each.due) for lane, each in found.items()} == {"predict": [], "control": [due.id], "fetch": []}
    assert (found["predict"], nothing) == (Outlook((), None), {})


async def test_sweeping_leaves_what_is_unfinished(database: Database) -> None:
    operation = await submit_inspection(database)
    async with database.write() as session:
        for what in ("operation", "prediction", "delivery", "event"):
            assert await forget_old(session, what, now_micros() + 1_000_000, 10) == 0
        assert (await doom(session, now_micros()), await pardon(session)) == (0, 0)
    async with database.read() as session:
        assert await session.get(Operation, operation.id) is not None


async def test_services_out_of_step_with_their_replicas(database: Database) -> None:
    async with database.write() as session:
        service = await make_service(session)
        await advance(session, service, "deploy", TEST)
        await advance(session, service, "ready", TEST, live_revision_id="rev_1", live_replicas=1)
        replica = Replica(
            id="rep_1",
            tenant_id=service.tenant_id,
            created_at=1,
            service_id=service.id,
            revision_id="rev_1",
            generation=1,
        )
        await begin(session, replica, TEST)
        assert await out_of_step(session) == [OutOfStep(service.id, "degrade", 0, 1)]
        await advance(session, replica, "fail", By("node", "crashed", "signal 9"))
        assert await why_not_ready(session, service.id) == "replica rep_1 is failed: signal 9"
        assert await services_of(session, ["rep_1", "rep_2"]) == [service.id]
        assert await out_of_step(session, "svc_other") == []
