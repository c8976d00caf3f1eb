"""Who holds a unit of work, until when, and that nobody else can write for it."""

import asyncio
import math

import pytest
from sqlalchemy import func, select, update

from core.clock import now_micros
from state import claims, operations
from state.advance import lock
from state.claims import ClaimLost
from state.database import Database, db_now
from state.queries.operations import NotCancelable, request_cancel
from state.tables import Event, Operation, Version
from state.turns import Room, Turns
from tests.state.rows import LEASE, ME, TEST, make_prediction, make_version, status_of, submit_inspection, take


async def test_a_claim_starts_the_work_and_its_target_in_one_commit(database: Database) -> None:
    operation = await submit_inspection(database)
    claim, row = await take(database)
    assert (claim.id, claim.epoch, claim.attempt, row.status) == (operation.id, 1, 1, "running")
    assert await status_of(database, Version, operation.target_id) == "inspecting"


async def test_work_is_taken_by_priority_then_due_time(database: Database) -> None:
    names = ["late", "early", "urgent", "future"]
    ids = {name: (await submit_inspection(database, name)).id for name in names}
    async with database.write() as session:
        for name, priority, seconds in [("late", 100, -1), ("early", 100, -2), ("urgent", 1, 0), ("future", 1, 60)]:
            due_at = db_now() + seconds * 1_000_000
            change = update(Operation).where(Operation.id == ids[name]).values(priority=priority, due_at=due_at)
            await session.execute(change)
    taken = [(await take(database))[0].id for _ in range(3)]
    assert taken == [ids["urgent"], ids["early"], ids["late"]]
    assert await claims.take(database, "control", "one", LEASE) is None


async def test_many_claimers_never_take_the_same_row(database: Database) -> None:
    submitted = {(await submit_inspection(database, f"m{number}")).id for number in range(12)}
    taken: list[str] = []

    async def claimer(name: str) -> None:
        misses = 0
        while misses < 3:
            found = await claims.take(database, "control", name, LEASE)
            if found is None:
                misses += 1
            else:
                taken.append(found[0].id)

    await asyncio.gather(*(claimer(f"w{number}") for number in range(6)))
    assert (len(taken), set(taken)) == (12, submitted)


async def test_one_operation_at_a_time_holds_a_resource(database: Database) -> None:
    async with database.write() as session:
        version = await make_version(session)
        first = await operations.submit(session, ME, "version.inspect", version)
        second = await operations.submit(session, ME, "version.test", version)
    found = await asyncio.gather(*(claims.take(database, "control", f"w{n}", LEASE) for n in range(4)))
    assert [taken[0].id for taken in found if taken] == [first.id]
    async with database.write() as session:
        claim = next(taken[0] for taken in found if taken)
        await claims.end(session, await claims.held(session, claim), "succeed", TEST, result={})
    assert (await take(database))[0].id == second.id


async def test_work_queues_behind_an_older_wish_that_waits_on_the_same_target(database: Database) -> None:
    async with database.write() as session:
        version = await make_version(session)
        first = await operations.submit(session, ME, "version.inspect", version)
        second = await operations.submit(session, ME, "version.test", version)
    claim, _row = await take(database)
    async with database.write() as session:
        row = await claims.held(session, claim)
        await claims.give_back(
            session, row, TEST, after_micros=3_600_000_000, used_attempt=False, waiting_for="a replica"
        )
    assert await claims.take(database, "control", "two", LEASE) is None
    async with database.write() as session:
        await claims.wake(session, [version.id])
    again, _row = await take(database)
    assert again.id == first.id
    async with database.write() as session:
        await claims.end(session, await claims.held(session, again), "succeed", TEST, result={})
    assert (await take(database))[0].id == second.id


async def test_a_taken_over_claim_can_write_nothing(database: Database) -> None:
    await submit_inspection(database)
    old, _ = await take(database)
    async with database.write() as session:
        await claims.give_back(session, await claims.held(session, old), TEST, after_micros=0, used_attempt=True)
    new, _ = await take(database, owner="two")
    assert (new.epoch, new.attempt) == (2, 2)
    for attempt in (claims.held, lambda session, claim: claims.renew(session, claim, LEASE)):
        with pytest.raises(ClaimLost):
            async with database.write() as session:
                await attempt(session, old)
    async with database.write() as session:
        assert await claims.renew(session, new, LEASE) is False


async def test_waiting_uses_no_attempt_and_a_change_wakes_it(database: Database) -> None:
    operation = await submit_inspection(database)
    claim, _ = await take(database)
    async with database.write() as session:
        row = await claims.held(session, claim)
        await claims.give_back(
            session, row, TEST, after_micros=3_600_000_000, used_attempt=False, waiting_for="a replica"
        )
    assert await claims.take(database, "control", "one", LEASE) is None
    async with database.write() as session:
        await claims.wake(session, [operation.target_id])
    again, _ = await take(database)
    assert (again.attempt, again.epoch) == (1, 2)


async def test_a_lease_that_ran_out_is_found(database: Database) -> None:
    await submit_inspection(database)
    claim, _ = await take(database)
    async with database.write() as session:
        assert await claims.expired(session, "control", 10) == []
        has_ended, ends_in_s = await claims.lease_ends(session)
        assert (has_ended, 0 < ends_in_s <= LEASE / 1_000_000) == (False, True)
        await session.execute(update(Operation).values(lease_until=db_now() - 1))
        assert await claims.lease_ends(session) == (True, math.inf)
        assert [row.id for row in await claims.expired(session, "control", 10)] == [claim.id]


async def test_a_cancellation_is_seen_at_the_next_renewal(database: Database) -> None:
    await submit_inspection(database)
    claim, _ = await take(database)
    async with database.write() as session:
        await session.execute(update(Operation).values(cancel_requested=True))
    async with database.write() as session:
        assert await claims.renew(session, claim, LEASE) is True


async def test_a_newer_wish_ends_the_older_one(database: Database) -> None:
    async with database.write() as session:
        version = await make_version(session)
        older = await operations.submit(session, ME, "version.inspect", version)
    claim, _ = await take(database)
    async with database.write() as session:
        holders = await operations.unfinished(session, version.id)
        newer = await operations.submit(session, ME, "version.inspect", version)
        await operations.supersede(session, holders, newer, TEST)
    with pytest.raises(ClaimLost):
        async with database.write() as session:
            await claims.held(session, claim)
    async with database.read() as session:
        row = (await session.scalars(select(Operation).where(Operation.id == older.id))).one()
    assert (row.status, row.superseded_by, (row.error or {})["code"]) == ("canceled", newer.id, "canceled")


async def test_predictions_use_the_same_claims_in_their_own_words(database: Database) -> None:
    async with database.write() as session:
        await make_prediction(session)
    claim, row = await take(database, "predict")
    assert row.status == "processing"
    async with database.write() as session:
        await claims.give_back(session, await claims.held(session, claim), TEST, after_micros=0, used_attempt=False)
    assert (await take(database, "predict"))[0].id == claim.id


async def test_a_prediction_is_told_to_have_started_once(database: Database) -> None:
    async with database.write() as session:
        await make_prediction(session)
    for _ in range(3):
        claim, _row = await take(database, "predict")
        async with database.write() as session:
            await claims.give_back(session, await claims.held(session, claim), TEST, after_micros=0, used_attempt=False)
    async with database.read() as session:
        assert [event.type for event in await session.scalars(select(Event))] == ["prediction.started"]


# SQLite has one writer: there nobody else can hold a lock.
@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
async def test_work_on_a_locked_target_is_left_for_later(database: Database) -> None:
    operation = await submit_inspection(database)
    async with database.write() as session:
        await lock(session, Version, operation.target_id)
        assert await claims.take(database, "control", "one", LEASE) is None
    assert (await take(database))[0].id == operation.id


async def test_the_databases_clock_counts_in_microseconds_of_now(database: Database) -> None:
    before = now_micros()
    async with database.read() as session:
        now = await session.scalar(select(db_now()))
    assert now is not None
    assert before - 1_000 <= now <= now_micros()  # SQLite's counts whole milliseconds


async def test_recorded_mutations_are_operations_that_have_succeeded(database: Database) -> None:
    async with database.write() as session:
        operation = await operations.record(session, ME, "version.update", await make_version(session))
    assert (operation.status, operation.result) == ("succeeded", {})
    async with database.read() as session:
        assert await session.scalar(select(func.count()).select_from(Operation)) == 1


async def test_what_only_a_newer_release_knows_waits_for_one(database: Database) -> None:
    for lane in ("control", "run", "fetch"):
        newer = await submit_inspection(database, f"newer-{lane}")
        async with database.write() as session:
            change = update(Operation).where(Operation.id == newer.id).values(kind="version.polish", lane=lane)
            await session.execute(change)
        async with database.read() as session:
            assert await claims.due_ids(session, lane, 10) == []
        assert await claims.take(database, lane, "one", LEASE) is None
    known = await submit_inspection(database, "known")
    async with database.read() as session:
        assert await claims.due_ids(session, "control", 10) == [known.id]
    assert (await take(database))[0].id == known.id
    a_round = Turns(is_round_next=True)  # of the tenants goes by another query
    assert (await claims.take_many(database, "control", "one", LEASE, Room(4), a_round)).taken == ()


async def test_what_only_a_newer_release_knows_is_not_canceled_here(database: Database) -> None:
    newer = await submit_inspection(database)
    async with database.write() as session:
        await session.execute(update(Operation).where(Operation.id == newer.id).values(kind="version.polish"))
    with pytest.raises(NotCancelable, match=r"version\.polish is of a newer release"):
        async with database.write() as session:
            await request_cancel(session, ME, newer.id)
    assert await status_of(database, Operation, newer.id) == "queued"
