"""Work whose holder died goes on, and work that kills its holders ends."""

import pytest

from core.clock import now_micros
from core.errors import StoreUnavailable
from state.blobs import touch_blob
from state.claims import take
from state.direct import direct_write
from state.endings import lock_silent
from state.tables import Blob, Operation
from tests.workers.platform import Platform, answering
from workers.outcomes import Done
from workers.rescuer import BATCH, MAX_RESCUES, requeue_all_running, rescue_expired

LEASE_LOST = 1  # a lease of one microsecond


async def held_by_a_dead_worker(platform: Platform, lease_micros: int) -> Operation:
    """An operation that somebody claimed and will not finish."""
    operation = await platform.operation()
    assert await take(platform.database, "control", "dead", lease_micros) is not None
    return operation


async def test_an_expired_lease_is_queued_again_with_its_attempt(platform: Platform) -> None:
    operation = await held_by_a_dead_worker(platform, LEASE_LOST)
    await rescue_until_queued(platform, operation)
    row = await platform.now(operation)
    assert (row.attempt, row.rescues, row.lease_owner, row.reason) == (0, 1, None, "lease_expired")


async def test_a_lease_that_still_runs_is_left_alone(platform: Platform) -> None:
    operation = await held_by_a_dead_worker(platform, 3_600_000_000)
    await rescue_expired(platform.database)
    assert (await platform.now(operation)).status == "running"


async def test_a_worker_finishes_what_a_dead_one_held(platform: Platform) -> None:
    operation = await held_by_a_dead_worker(platform, LEASE_LOST)
    await platform.start({"version.inspect": answering(Done())})
    ended = await platform.until(operation, "succeeded")
    assert (ended.attempt, ended.rescues) == (1, 1)


async def test_work_that_kills_its_holders_fails_at_last(platform: Platform) -> None:
    operation = await held_by_a_dead_worker(platform, LEASE_LOST)
    await platform.set_operation(operation.id, rescues=MAX_RESCUES)
    await platform.start({"version.inspect": answering(Done())})
    ended = await platform.until(operation, "failed")
    assert ended.error is not None
    assert ended.error["code"] == "holder_died"
    assert (await platform.target_of(operation)).status == "invalid"


async def test_a_run_outlives_as_many_holders_as_it_has_attempts(platform: Platform) -> None:
    operation = await held_by_a_dead_worker(platform, LEASE_LOST)
    await platform.set_operation(operation.id, kind="run.execute", rescues=19)
    await rescue_until_queued(platform, operation)
    row = await platform.now(operation)
    assert (row.status, row.rescues) == ("queued", 20)


async def test_a_pause_is_never_given_up_because_a_service_cannot_rest_in_pausing(platform: Platform) -> None:
    operation = await platform.operation("service.pause")
    assert await take(platform.database, "control", "dead", LEASE_LOST) is not None
    await platform.set_operation(operation.id, rescues=MAX_RESCUES)
    await rescue_until_queued(platform, operation)
    assert (await platform.now(operation)).rescues == MAX_RESCUES + 1


async def test_a_dead_deliverys_and_predictions_lanes_are_rescued_too(platform: Platform) -> None:
    row = await platform.delivery()
    assert await take(platform.database, "deliver", "dead", LEASE_LOST) is not None
    await platform.start({"deliver": answering(Done())})
    assert (await platform.until(row, "delivered")).rescues == 1


async def test_a_start_alone_on_the_database_queues_everything_at_once(platform: Platform) -> None:
    operation = await held_by_a_dead_worker(platform, 3_600_000_000)
    assert await requeue_all_running(platform.database) == 1
    row = await platform.now(operation)
    assert (row.status, row.attempt, row.reason, row.message) == ("queued", 0, "restarted", "the platform restarted")
    assert (await platform.moves(operation))[-1] == "requeue"


async def test_the_time_in_which_nobody_worked_is_not_counted_against_waiting_work(platform: Platform) -> None:
    operation = await platform.operation("version.inspect", due_in_s=60)
    await platform.set_operation(operation.id, started_at=1, waiting_for="0 of 1 replicas are ready")
    await requeue_all_running(platform.database)
    assert (await platform.now(operation)).started_at is None


async def test_rows_that_cannot_be_rescued_do_not_hold_up_the_others(platform: Platform) -> None:
    for _ in range(BATCH):
        broken = await held_by_a_dead_worker(platform, LEASE_LOST)
        # A count that no further rescue fits into.
        await platform.set_operation(broken.id, kind="service.pause", rescues=2**63 - 1, lease_until=1)
    operation = await held_by_a_dead_worker(platform, LEASE_LOST)
    await rescue_until_queued(platform, operation)
    assert (await platform.now(broken)).status == "running"


async def test_what_only_a_newer_release_knows_is_queued_for_it_however_often(platform: Platform) -> None:
    operation = await held_by_a_dead_worker(platform, LEASE_LOST)
    await platform.set_operation(operation.id, kind="version.polish", rescues=MAX_RESCUES)
    await rescue_until_queued(platform, operation)
    row = await platform.now(operation)
    assert (row.status, row.rescues) == ("queued", MAX_RESCUES + 1)


async def test_a_holder_that_answers_meanwhile_keeps_its_work(platform: Platform) -> None:
    operation = await held_by_a_dead_worker(platform, LEASE_LOST)
    seen = await platform.now(operation)
    await platform.set_operation(operation.id, lease_until=2**52)
    async with direct_write(platform.database) as session:
        assert await lock_silent(session, seen) is None


async def test_an_embedded_start_goes_on_with_what_the_last_process_held(platform: Platform) -> None:
    operation = await held_by_a_dead_worker(platform, 3_600_000_000)
    await platform.start({"version.inspect": answering(Done())}, alone=True)
    await platform.until(operation, "succeeded")


async def rescue_until_queued(platform: Platform, operation: Operation) -> None:
    """The database's clock counts milliseconds: the lease may need one to be over."""
    async with platform.deadline():
        while (await platform.now(operation)).status == "running":
            await rescue_expired(platform.database)


async def test_bytes_that_a_dead_sweeper_condemned_can_be_put_again_after_a_start_alone(platform: Platform) -> None:
    digest = f"sha256:{'5' * 64}"
    async with platform.database.write() as session:
        session.add(Blob(digest=digest, size_bytes=1, touched_at=1, doomed_at=-now_micros()))
    with pytest.raises(StoreUnavailable):
        async with platform.database.write() as session:
            await touch_blob(session, digest, 1)
    await requeue_all_running(platform.database)
    async with platform.database.write() as session:
        await touch_blob(session, digest, 1)
