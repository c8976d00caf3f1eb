"""One verb for many beside others that write: nobody waits for somebody who waits for them."""

import asyncio

from sqlalchemy import select

from state.advance import advance
from state.batches import VERBS, do_all
from state.database import Database
from state.history import raise_routing_version
from state.operations import submit
from state.tables import Operation, Service
from tests.state.rows import ME, TEST, make_service, somebody_waits_for_a_lock


async def running_service(database: Database, name: str) -> Service:
    async with database.write() as session:
        service = await make_service(session, name)
        for move in ("deploy", "ready"):
            await advance(session, service, move, TEST)
    return service


async def test_pausing_many_does_not_hold_up_who_claims_an_operation_on_one_of_them(database: Database) -> None:
    ids = sorted([(await running_service(database, name)).id for name in ("one", "two")])
    async with database.write() as session:
        last = await session.get_one(Service, ids[-1])
        operation = await submit(session, ME, "service.update", last)
    async with database.write() as session:
        # As a claim does: it holds what it found, and at its end waits for the routing version.
        await session.execute(select(Operation).where(Operation.id == operation.id).with_for_update())
        pausing = asyncio.create_task(do_all(database, ME, VERBS["batch.pause_services"], ids, dry_run=False))
        await somebody_waits_for_a_lock(database)
        await raise_routing_version(session)
    assert [item.outcome for item in await pausing] == ["accepted", "accepted"]


async def test_canceling_many_does_not_hold_up_who_claims_one_of_them(database: Database) -> None:
    made = []
    for name in ("one", "two"):
        async with database.write() as session:
            made.append((await submit(session, ME, "service.deploy", await make_service(session, name))).id)
    async with database.write() as session:
        await session.execute(select(Operation).where(Operation.id == max(made)).with_for_update())
        canceling = asyncio.create_task(do_all(database, ME, VERBS["batch.cancel_operations"], made, dry_run=False))
        await somebody_waits_for_a_lock(database)
        await raise_routing_version(session)
    assert [item.outcome for item in await canceling] == ["accepted", "accepted"]
