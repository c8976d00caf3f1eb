"""Whose turn it is: nobody's backlog holds up what another one sent later."""

from collections import Counter

import pytest
from sqlalchemy import select, update

from core.clock import now_micros
from core.ids import new_id
from state import claims
from state.claims import Taken, take_many
from state.database import Database
from state.history import begin
from state.operations import Who, submit
from state.tables import Delivery, Operation
from state.turns import Room, Turns, share_of
from tests.state.rows import LEASE, ME, TEST, make_prediction, make_version

OTHER = Who("tnt_other", "somebody", "user")


async def look(database: Database, lane: str, turns: Turns, room: Room) -> list[Taken]:
    """What one claim takes."""
    return list((await take_many(database, lane, "one", LEASE, room, turns)).taken)


async def queue_operations(database: Database, who: Who, count: int) -> None:
    async with database.write() as session:
        for number in range(count):
            await submit(session, who, "version.test", await make_version(session, f"{who.tenant_id[4:]}-{number}"))


async def queue_predictions(database: Database, service: str, count: int) -> None:
    async with database.write() as session:
        for _ in range(count):
            (await make_prediction(session)).service_id = service


async def queue_deliveries(database: Database, receiver: str, count: int) -> None:
    async with database.write() as session:
        for _ in range(count):
            now = now_micros()
            row = Delivery(
                id=new_id("dlv"),
                tenant_id=ME.tenant_id,
                created_at=now,
                lane="deliver",
                due_at=now,
                endpoint_id=receiver,
                receiver=receiver,
                url="http://localhost/",
                event_id="evt_1",
                event_type="version.ready",
                body="{}",
                attempts=[],
            )
            await begin(session, row, TEST)


async def test_one_tenants_backlog_does_not_hold_up_anothers_single_row(database: Database) -> None:
    await queue_operations(database, ME, 30)
    await queue_operations(database, OTHER, 1)
    turns, tenants = Turns(), Counter[str]()
    for _ in range(2):
        tenants.update(taken.row.tenant_id for taken in await look(database, "control", turns, Room(4)))
    assert tenants == {ME.tenant_id: 7, OTHER.tenant_id: 1}


async def test_every_other_claim_of_a_backlog_takes_what_waits_longest(database: Database) -> None:
    await queue_operations(database, ME, 9)
    await queue_operations(database, OTHER, 9)
    turns, rounds = Turns(), []
    for _ in range(4):
        rounds.append([taken.row.tenant_id for taken in await look(database, "control", turns, Room(2))])
    mine, both = [ME.tenant_id] * 2, sorted([ME.tenant_id, OTHER.tenant_id])
    assert [sorted(tenants) for tenants in rounds] == [mine, both, mine, both]


async def test_the_round_goes_on_behind_the_tenants_that_had_their_turn(database: Database) -> None:
    await queue_operations(database, ME, 12)
    names = [f"tnt_x{number}" for number in range(5)]
    for name in names:
        await queue_operations(database, Who(name, "somebody", "user"), 2)
    turns, seen = Turns(), set[str]()
    for _ in range(6):
        seen |= {taken.row.tenant_id for taken in await look(database, "control", turns, Room(2))}
    assert set(names) <= seen


async def test_a_service_holds_no_more_slots_than_its_part(database: Database) -> None:
    await queue_predictions(database, "svc_busy", 20)
    await queue_predictions(database, "svc_late", 1)
    turns, held = Turns(), Counter[str]()
    for _ in range(4):
        for taken in await look(database, "predict", turns, Room(8 - held.total(), 4, held)):
            held[str(share_of(taken.row))] += 1
    assert held == {"svc_busy": 4, "svc_late": 1}


async def test_work_of_a_service_that_may_hold_no_more_is_not_asked_for_again_and_again(database: Database) -> None:
    await queue_predictions(database, "svc_busy", 3)
    haul = await take_many(database, "predict", "one", LEASE, Room(4, 4, {"svc_busy": 4}), Turns())
    assert (haul.taken, haul.more) == ((), False)


async def test_a_receivers_backlog_does_not_hold_up_another_receiver(database: Database) -> None:
    await queue_deliveries(database, "whk_busy", 20)
    await queue_deliveries(database, "whk_late", 1)
    turns, receivers = Turns(), list[str]()
    for _ in range(3):
        receivers += [str(share_of(taken.row)) for taken in await look(database, "deliver", turns, Room(8, 1))]
    assert "whk_late" in receivers
    assert all(count <= 4 for count in Counter(receivers).values())


async def test_what_was_backed_off_does_not_stand_before_what_is_due(database: Database) -> None:
    await queue_operations(database, ME, 10)
    async with database.write() as session:
        later = now_micros() + 60_000_000
        await session.execute(update(Operation).values(due_at=later, priority=1))
    await queue_operations(database, OTHER, 1)
    assert [taken.row.tenant_id for taken in await look(database, "control", Turns(), Room(4))] == [OTHER.tenant_id]


async def test_one_claim_takes_one_of_the_wishes_for_a_target(database: Database) -> None:
    async with database.write() as session:
        version = await make_version(session)
        wishes = [await submit(session, ME, "version.test", version) for _ in range(3)]
        # The same instant: their ids decide, and only one of them may be claimed.
        await session.execute(update(Operation).values(created_at=wishes[0].created_at))
    first = min(wish.id for wish in wishes)
    assert [taken.claim.id for taken in await look(database, "control", Turns(), Room(4))] == [first]


# SQLite has one writer: there nobody else can hold a lock.
@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
async def test_a_claim_leaves_out_what_another_one_is_claiming(database: Database) -> None:
    await queue_operations(database, ME, 6)
    async with database.write() as session:
        query = select(Operation.id).order_by(Operation.id).limit(2).with_for_update()
        locked = set(await session.scalars(query))
        taken = {each.claim.id for each in await look(database, "control", Turns(), Room(6))}
    assert len(taken) == 4
    assert not taken & locked


async def test_a_prediction_brings_where_it_can_be_sent(database: Database) -> None:
    await queue_predictions(database, "svc_gone", 1)
    [taken] = await look(database, "predict", Turns(), Room(1))
    assert taken.destination is not None
    assert taken.destination.status == "deleted"


async def test_claims_in_a_batch_are_as_good_as_single_ones(database: Database) -> None:
    await queue_operations(database, ME, 3)
    for taken in await look(database, "control", Turns(), Room(3)):
        async with database.write() as session:
            assert await claims.renew(session, taken.claim, LEASE) is False
            row = await claims.held(session, taken.claim)
        assert (row.epoch, row.attempt, row.lease_owner, row.status) == (1, 1, "one", "running")
        assert (taken.row.epoch, taken.row.sequence, taken.row.lease_until is not None) == (1, 2, True)
