"""Lanes, slots and wake-ups: who gets which work, and what is never lost."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from sqlalchemy import update

from core.clock import now_micros
from core.failpoints import arm
from state.database import open_database
from state.tables import Operation
from tests.workers.platform import Platform, answering, wait_for
from workers.outcomes import Done, Outcome
from workers.relay import Relay, WakeUps
from workers.resources import Held, Resources

INSPECT = "version.inspect"


async def test_work_whose_wake_up_was_lost_is_found_by_looking(platform: Platform) -> None:
    await platform.start({INSPECT: answering(Done())})
    behind_its_back = open_database(platform.resources.settings.database)
    operation = await platform.operation(due_in_s=3600.0)
    async with behind_its_back.write() as session:
        await session.execute(update(Operation).values(due_at=now_micros()))
    await behind_its_back.close()
    await platform.until(operation, "succeeded")


async def test_work_that_is_due_soon_does_not_wait_for_the_next_look(platform: Platform) -> None:
    await platform.start({INSPECT: answering(Done())}, poll_s=3600.0)
    began = time.monotonic()
    await platform.until(await platform.operation(due_in_s=0.3), "succeeded")
    assert time.monotonic() - began > 0.25


async def test_slow_deliveries_do_not_hold_an_inspection(platform: Platform) -> None:
    go, delivering = asyncio.Event(), Counter[str]()

    async def deliver(held: Held, resources: Resources) -> Outcome:
        delivering["now"] += 1
        await go.wait()
        return Done()

    await platform.start({INSPECT: answering(Done()), "deliver": deliver})
    slots = platform.resources.settings.lanes["deliver"]
    rows = [await platform.delivery() for _ in range(slots + 4)]
    await wait_for(lambda: delivering["now"] == slots)
    await platform.until(await platform.operation(), "succeeded")
    assert delivering["now"] == slots  # and no more than its slots, however much is due
    go.set()
    for row in rows:
        await platform.until(row, "delivered")


async def test_operations_on_one_target_run_one_after_the_other(platform: Platform) -> None:
    now, most = Counter[str](), Counter[str]()

    async def handle(held: Held, resources: Resources) -> Outcome:
        now["running"] += 1
        most["running"] = max(most["running"], now["running"])
        await asyncio.sleep(0.02)
        now["running"] -= 1
        return Done()

    version = await platform.version()
    operations = [await platform.submit("version.test", version) for _ in range(6)]
    await platform.start({"version.test": handle})
    for operation in operations:
        await platform.until(operation, "succeeded")
    assert most["running"] == 1


async def test_two_workers_on_one_database_never_run_the_same_row_twice(platform: Platform) -> None:
    runs: Counter[str] = Counter()

    async def handle(held: Held, resources: Resources) -> Outcome:
        runs[held.claim.id] += 1
        await asyncio.sleep(0.005)
        return Done()

    await platform.start({INSPECT: handle})
    await platform.start({INSPECT: handle})
    operations = [await platform.operation() for _ in range(30)]
    for operation in operations:
        await platform.until(operation, "succeeded")
    assert (set(runs.values()), len(runs)) == ({1}, 30)


async def test_a_burst_is_worked_off_although_most_of_its_wake_ups_are_dropped(platform: Platform) -> None:
    operations = [await platform.operation() for _ in range(12)]
    host = await platform.start({INSPECT: answering(Done())}, poll_s=3600.0)
    for operation in operations:
        host.nudge("control", operation.id)
    for operation in operations:
        await platform.until(operation, "succeeded")


async def test_a_nudge_for_a_lane_that_is_not_ours_is_nothing(platform: Platform) -> None:
    host = await platform.start({})
    host.nudge("no-such-lane", "op_1")
    await asyncio.to_thread(host.nudge, "control", "op_1")


@asynccontextmanager
async def relaying(platform: Platform, free: Callable[[str], int]) -> AsyncIterator[None]:
    """A relay that looks all the time, and has ended after the block."""
    relay = Relay(platform.database, WakeUps({"control": 1}), free, 0.01)
    looking = asyncio.create_task(relay.run(["control"]))
    try:
        yield
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


async def test_the_relay_goes_on_after_a_bug(platform: Platform) -> None:
    looks: list[str] = []

    def free(lane: str) -> int:
        looks.append(lane)
        if len(looks) == 1:
            raise RuntimeError("a bug")
        return 1

    async with relaying(platform, free):
        await wait_for(lambda: len(looks) > 1)


async def test_the_relay_goes_on_after_a_failure_between_looking_and_sending(platform: Platform) -> None:
    looks: list[str] = []

    def free(lane: str) -> int:
        looks.append(lane)
        return 1

    arm("relay_before_send=raise@1")
    try:
        async with relaying(platform, free):
            await wait_for(lambda: len(looks) > 1)
    finally:
        arm(None)
