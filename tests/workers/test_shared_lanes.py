"""Lanes that several worker processes share, over PostgreSQL and Redis: who is woken, and who takes over."""

import asyncio
import threading
from collections import Counter

from tests.workers.installation import Installation
from tests.workers.platform import answering, wait_for
from workers.executor import Handler
from workers.outcomes import Done, Outcome
from workers.resources import Held, Resources

INSPECT = "version.inspect"


def gated(go: asyncio.Event, began: Counter[str]) -> Handler:
    """A handler that counts what begins and ends when it is let."""

    async def handle(held: Held, resources: Resources) -> Outcome:
        began[held.claim.id] += 1
        await go.wait()
        return Done()

    return handle


async def test_what_another_process_commits_begins_without_a_look(installation: Installation) -> None:
    await installation.worker({INSPECT: answering(Done())})
    for _ in range(10):  # none of them would ever begin by itself
        await installation.api.until(await installation.api.operation(), "succeeded")


async def test_a_wake_up_goes_to_the_worker_that_has_room(installation: Installation) -> None:
    go, began = asyncio.Event(), Counter[str]()
    await installation.worker({INSPECT: gated(go, began)}, lanes="control=1")
    first = await installation.api.operation()
    await wait_for(lambda: began[first.id] == 1)
    await installation.worker({INSPECT: gated(go, began)}, lanes="control=1")
    second = await installation.api.operation()
    await wait_for(lambda: began[second.id] == 1)
    go.set()
    for operation in (first, second):
        await installation.api.until(operation, "succeeded")
    assert set(began.values()) == {1}


async def test_work_that_a_worker_commits_while_its_own_lane_is_full_wakes_another(installation: Installation) -> None:
    go, began = asyncio.Event(), Counter[str]()
    busy = {INSPECT: gated(go, began)}
    await installation.worker(busy, lanes="control=1")
    first = await installation.api.operation()
    await wait_for(lambda: began[first.id] == 1)
    await installation.worker(busy, lanes="control=1")
    second = await installation.workers[0].operation()
    await wait_for(lambda: began[second.id] == 1)
    go.set()
    await installation.api.until(second, "succeeded")


async def test_a_lane_that_a_worker_does_not_have_is_done_by_the_one_that_has_it(installation: Installation) -> None:
    await installation.worker({INSPECT: answering(Done())}, lanes="predict=1")
    await installation.worker({INSPECT: answering(Done())}, lanes="control=1")
    await installation.api.until(await installation.workers[0].operation(), "succeeded")


async def test_what_a_stopping_worker_hands_back_is_taken_over_at_once(installation: Installation) -> None:
    never, began = asyncio.Event(), Counter[str]()
    leaving = await installation.worker({INSPECT: gated(never, began)})
    operations = [await installation.api.operation() for _ in range(3)]
    await wait_for(lambda: len(began) == 3)
    await installation.worker({INSPECT: answering(Done())})
    await leaving.stop(0.0)
    for operation in operations:
        done = await installation.api.until(operation, "succeeded")
        assert done.attempt == 1  # the first was handed back and does not count


async def test_a_worker_that_stops_leaves_no_thread_and_lets_work_finish_within_its_grace(
    installation: Installation,
) -> None:
    before = set(threading.enumerate())
    go, began = asyncio.Event(), Counter[str]()
    host = await installation.worker({INSPECT: gated(go, began)})
    running = await installation.api.operation()
    await wait_for(lambda: began[running.id] == 1)
    stopping = asyncio.create_task(host.stop(60.0))
    await asyncio.sleep(0.05)
    late = await installation.api.operation()
    go.set()
    await stopping
    assert (await installation.api.now(running)).status == "succeeded"
    assert (await installation.api.now(late)).status == "queued"
    assert began[late.id] == 0
    # The lanes' own threads are daemons that see their flag within half a second.
    await wait_for(lambda: not [one for one in set(threading.enumerate()) - before if is_dramatiq(one)])


def is_dramatiq(thread: threading.Thread) -> bool:
    """Whether Dramatiq or the nudger made it."""
    return thread.name == "nudger" or type(thread).__module__.startswith("dramatiq")


async def test_a_burst_is_shared_and_each_unit_runs_once(installation: Installation) -> None:
    runs: Counter[str] = Counter()
    shares: Counter[str] = Counter()
    both = asyncio.Event()

    async def handle(held: Held, resources: Resources) -> Outcome:
        runs[held.claim.id] += 1
        shares[held.claim.owner] += 1
        if len(shares) == 2:
            both.set()
        await both.wait()  # who is quick would be done with all of it before the other has begun
        return Done()

    for _ in range(2):
        await installation.worker({INSPECT: handle})
    operations = [await installation.api.operation() for _ in range(40)]
    for operation in operations:
        await installation.api.until(operation, "succeeded")
    assert (set(runs.values()), len(runs)) == ({1}, 40)
