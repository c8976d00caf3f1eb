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
from tests.workers.platform import WHO, Platform
from tests.workers.receiver import Receiver, open_receiver
from workers.outcomes import Done, Outcome
from workers.rescuer import rescue_expired
from workers.resources import Held, Resources

BAR_S = 15.0
CARETAKERS_S = 10.0
CANCEL_S = 1.0


async def received(receiver: Receiver, count: int, within_s: float = 10.0) -> None:
    """Wait until so many requests came in."""
    async with asyncio.timeout(within_s):
        while len(receiver.received) < count:
            await asyncio.sleep(0.01)


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
    api, go = installation.api, asyncio.Event()
    first = await asyncio.to_thread(start_worker)  # it is every caretaker, and holds the work
    async with open_receiver(pause=go) as receiver:
        delivery = await api.delivery(receiver.url)
        await received(receiver, 1)
        await asyncio.to_thread(start_worker)
        assert await holder_of(delivery, api, first) is first
        first.kill()
        began = time.monotonic()
        async with asyncio.timeout(CARETAKERS_S):
            while f":{first.pid}:" in await caretaker(api.database, "rescuer"):
                await asyncio.sleep(0.05)
        await received(receiver, 2, BAR_S)
        assert time.monotonic() - began < BAR_S
        row = await api.now(delivery)
        assert (row.status, row.attempt, row.rescues) == ("sending", 1, 1)
        assert await api.moves(delivery) == ["create", "start", "requeue", "start"]
        go.set()
        await api.until(delivery, "delivered")


async def test_a_worker_that_stood_still_past_its_lease_writes_nothing(
    installation: Installation, start_worker: StartWorker
) -> None:
    api, go = installation.api, asyncio.Event()
    quick = partial(start_worker, LEASE_S="2", POLL_S="0.5")
    workers = [await asyncio.to_thread(quick) for _ in range(2)]
    # The one that stands still gets a failure, which would count against the receiver; its successor a success.
    async with open_receiver(pause=go, answers=["500 Oops"]) as receiver:
        delivery = await api.delivery(receiver.url)
        await received(receiver, 1)
        paused = await holder_of(delivery, api, *workers)
        paused.pause()
        go.set()  # the answer waits in the paused one's socket
        receiver.answers = ["200 OK"]
        before = await api.until(delivery, "delivered")
        paused.resume()
        async with asyncio.timeout(10.0):
            while "deliver: lost" not in paused.log.read_text("utf-8"):
                await asyncio.sleep(0.02)
        after = await api.now(delivery)
        assert (after.sequence, after.attempts, after.since) == (before.sequence, before.attempts, before.since)
        async with api.database.read() as session:
            assert await session.scalar(select(func.count()).select_from(Circuit)) == 0


async def test_canceling_in_one_process_reaches_a_handler_in_another_within_a_second(
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
    async with asyncio.timeout(CANCEL_S):
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
    await installation.worker({"version.inspect": handle}, poll_s=0.3)
    await began.wait()
    postgres.kill()
    await asyncio.to_thread(postgres.restart)
    worker = installation.workers[0]
    async with asyncio.timeout(30.0):
        for operation in operations:
            await _until_it_answers(worker, operation)
    for operation in operations:
        moves = Counter(await worker.moves(operation))
        assert (moves["create"], moves["succeed"], moves["fail"]) == (1, 1, 0)
    [pool] = worker.database.pools()
    assert pool.in_use <= 1  # a caretaker may be looking
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
    async with asyncio.timeout(10.0), database.read() as session:
        while not await session.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")):
            await asyncio.sleep(0.01)
