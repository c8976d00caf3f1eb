"""Workers that die or stand still, on PostgreSQL and Redis; as processes of their own where that is what counts."""

import asyncio
import time
from collections import Counter
from functools import partial

from sqlalchemy import func, select, text

from core.errors import DatabaseBusy
from deploy.stack.postgres import PostgresServer
from deploy.stack.process import PortsideProcess
from state.advance import lock
from state.claims import take
from state.database import Database
from state.leases import holder
from state.queries.operations import request_cancel
from state.tables import Circuit, Delivery, Operation, Version
from tests.workers.installation import Installation, StartWorker
from tests.workers.platform import WHO, Platform, wait_for
from tests.workers.receiver import Receiver, open_receiver
from workers.outcomes import Done, Outcome
from workers.rescuer import rescue_expired
from workers.resources import Held, Resources

BAR_S = 15.0
LEASE_S = "3"  # half of what is the default, and BAR_S the same: room for a loaded machine
HEARD_S = 8.0  # before the next beat of a heart with the lease of `tests.workers.platform`


async def received(receiver: Receiver, count: int) -> None:
    """Wait until so many requests came in."""
    await wait_for(lambda: len(receiver.received) >= count)


async def holder_of(delivery: Delivery, api: Platform, *workers: PortsideProcess) -> PortsideProcess:
    """The worker that works on it."""
    owner = (await api.now(delivery)).lease_owner or ""
    return next(worker for worker in workers if f":{worker.pid}:" in owner)


async def caretaker(database: Database, name: str) -> str:
    """Who holds a caretaker's lease."""
    async with database.read() as session:
        return await holder(session, name) or ""


async def test_what_a_killed_worker_did_runs_again_within_15_seconds(
    installation: Installation, start_worker: StartWorker
) -> None:
    api, go, quick = installation.api, asyncio.Event(), partial(start_worker, LEASE_S=LEASE_S, POLL_S="0.5")
    first = await asyncio.to_thread(quick)  # it is every caretaker, and holds the work
    async with open_receiver(pause=go) as receiver:
        delivery = await api.delivery(receiver.url)
        await received(receiver, 1)
        await asyncio.to_thread(quick)
        assert await holder_of(delivery, api, first) is first
        first.kill()
        began = time.monotonic()
        async with api.deadline():
            while f":{first.pid}:" in await caretaker(api.database, "rescuer"):
                await asyncio.sleep(0.05)
        await received(receiver, 2)
        assert time.monotonic() - began < BAR_S
        row = await api.now(delivery)
        assert (row.status, row.attempt) == ("sending", 1)
        assert row.rescues >= 1  # more, where a machine with other work lets the second one stand still, too
        assert await api.moves(delivery) == ["create", "start", *["requeue", "start"] * row.rescues]
        go.set()
        await api.until(delivery, "delivered")


async def test_a_worker_that_stood_still_past_its_lease_writes_nothing(
    installation: Installation, start_worker: StartWorker
) -> None:
    api, go, quick = installation.api, asyncio.Event(), partial(start_worker, LEASE_S=LEASE_S, POLL_S="0.5")
    workers = [await asyncio.to_thread(quick) for _ in range(2)]
    # The one that stands still gets a failure, which would count against the receiver; its successor a success.
    async with open_receiver(pause=go, answers=["500 Oops", "200 OK"]) as receiver:
        delivery = await api.delivery(receiver.url)
        await received(receiver, 1)
        paused = await holder_of(delivery, api, *workers)
        paused.pause()
        go.set()  # the answer waits in the paused one's socket
        before = await api.until(delivery, "delivered")
        paused.resume()
        await wait_for(lambda: "deliver: lost" in paused.log.read_text("utf-8"))
        after = await api.now(delivery)
        assert (after.sequence, after.attempts, after.since) == (before.sequence, before.attempts, before.since)
        async with api.database.read() as session:
            assert await session.scalar(select(func.count()).select_from(Circuit)) == 0


async def test_canceling_in_one_process_reaches_a_handler_in_another_before_that_looks_by_itself(
    installation: Installation,
) -> None:
    ended = asyncio.Event()

    async def handle(held: Held, resources: Resources) -> Outcome:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return Done()

    await installation.worker({"version.inspect": handle})
    await installation.worker({}, lanes="deliver=1")
    elsewhere = installation.workers[1]
    operation = await installation.api.operation()
    await installation.api.until(operation, "running")
    async with elsewhere.database.write() as session:
        await request_cancel(session, WHO, operation.id)
    async with asyncio.timeout(HEARD_S):
        await ended.wait()
    await installation.api.until(operation, "canceled")


async def test_the_rescuer_waits_for_a_target_before_it_holds_the_operation(installation: Installation) -> None:
    database = installation.api.database
    operation = await installation.api.operation()
    assert await take(database, "control", "dead", 1) is not None
    async with database.write() as session:
        await lock(session, Version, operation.target_id)
        rescuing = asyncio.create_task(rescue_expired(database))
        await _somebody_waits_for_a_lock(database)
        await lock(session, Operation, operation.id)  # as whoever cancels it does: the target first
    await rescuing
    assert (await installation.api.now(operation)).status == "queued"


async def test_work_goes_on_by_itself_when_postgresql_dies_and_comes_back(
    installation: Installation, postgres: PostgresServer
) -> None:
    began = asyncio.Event()

    async def handle(held: Held, resources: Resources) -> Outcome:
        began.set()
        await asyncio.sleep(0.02)
        return Done()

    operations = [await installation.api.operation() for _ in range(40)]
    # What a transaction has claimed whose answer was lost is nobody's until this lease is over.
    await installation.worker({"version.inspect": handle}, poll_s=0.3, lease_s=5.0)
    await began.wait()
    postgres.kill()
    await asyncio.to_thread(postgres.restart)
    worker = installation.workers[0]
    for operation in operations:
        await _until_it_answers(worker, operation)
    for operation in operations:
        moves = Counter(await worker.moves(operation))
        assert (moves["create"], moves["succeed"], moves["fail"]) == (1, 1, 0)
    await wait_for(lambda: worker.database.pools()[0].in_use == 0)  # a caretaker may be looking, and is done soon
    [pool] = worker.database.pools()
    async with worker.database.read() as session:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        assert (await session.scalar(text(query)) or 0) <= 2 * pool.size + 2  # two processes, and their notices


async def _until_it_answers(worker: Platform, operation: Operation) -> None:
    while True:
        try:
            await worker.until(operation, "succeeded")
        except DatabaseBusy:
            await asyncio.sleep(0.05)
        else:
            return


async def _somebody_waits_for_a_lock(database: Database) -> None:
    async with asyncio.timeout(60.0), database.read() as session:
        while not await session.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")):
            await asyncio.sleep(0.01)
