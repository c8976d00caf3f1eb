"""Redis decides nothing: whatever happens to it while work is submitted, all of it is done, once, within seconds."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress

import pytest

from deploy.stack.redis import RedisServer
from state.tables import Operation
from tests.workers.installation import Installation
from tests.workers.platform import answering
from workers.outcomes import Done, Outcome
from workers.resources import Held, Resources

INSPECT = "version.inspect"
POLL_S = 2.0  # the product's own
SECONDS = 20.0  # after the last submission; one after the other waiting for a silent Redis, they would take 24
SUBMITTED_S = 6.0  # likewise 8
HELD_S = 1.0  # a silent Redis is waited for twice as long
LOOK_S = 0.01
EACH = 4
Trouble = Callable[[RedisServer], Coroutine[None, None, None]]


async def killed(server: RedisServer) -> None:
    """Away until the test is over."""
    await asyncio.to_thread(server.kill)


async def flushed(server: RedisServer) -> None:
    """Everything that waited is forgotten."""
    await asyncio.to_thread(server.flush)


async def paused(server: RedisServer) -> None:
    """Connections stay and nobody answers: the worst of them."""
    await asyncio.to_thread(server.pause)


async def restarted(server: RedisServer) -> None:
    """Gone and back, empty."""
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.restart)


async def slow(server: RedisServer) -> None:
    """Every command waits for one that takes long."""
    busy = "local a = redis.call('TIME')[1] + 1 while redis.call('TIME')[1] + 0 <= a do end return 'OK'"
    await asyncio.to_thread(server.command, "EVAL", busy, "0")


def heal(server: RedisServer, trouble: Trouble) -> None:
    """Undo what lasts."""
    if trouble is killed:
        server.restart()
    if trouble is paused:
        server.resume()


@pytest.mark.parametrize("trouble", [killed, flushed, paused, restarted, slow], ids=lambda each: each.__name__)
async def test_whatever_happens_to_redis_all_work_is_done_once_and_soon(
    installation: Installation, redis_server: RedisServer, caplog: pytest.LogCaptureFixture, trouble: Trouble
) -> None:
    runs: Counter[str] = Counter()

    async def handle(held: Held, resources: Resources) -> Outcome:
        runs[held.claim.id] += 1
        return Done()

    for _ in range(2):
        await installation.worker({INSPECT: handle}, poll_s=POLL_S, lanes="control=2")
    await installation.worker({"deliver": answering(Done())}, lanes="deliver=1")  # it never looks by itself
    try:
        with standing_still() as gaps:
            async with asyncio.TaskGroup() as tasks:
                lag = tasks.create_task(never_held(gaps))
                operations = await submitted(installation)
                happening = tasks.create_task(trouble(redis_server))
                operations += await submitted(installation)
                await happening
                operations += await submitted(installation)
                lag.cancel()
        began = time.monotonic()
        for operation in operations:
            await installation.api.until(operation, "succeeded")
        assert time.monotonic() - began < SECONDS
    finally:
        await asyncio.to_thread(heal, redis_server, trouble)
    assert runs == Counter({operation.id: 1 for operation in operations})
    await heard_again(installation)
    assert "Traceback" not in caplog.text
    assert caplog.text.count("does not serve") <= 4  # one line each for the api and three workers


async def submitted(installation: Installation) -> list[Operation]:
    """Some operations, accepted one after the other; each as fast as if Redis were well."""
    async with asyncio.timeout(SUBMITTED_S):
        return [await installation.api.operation() for _ in range(EACH)]


@contextmanager
def standing_still() -> Iterator[list[float]]:
    """For how long a thread that only sleeps stood still, look by look: then the machine was busy, and not the loop."""
    gaps, is_over = list[float](), threading.Event()

    def look() -> None:
        before = time.monotonic()
        while not is_over.wait(LOOK_S):
            now = time.monotonic()
            gaps.append(now - before)
            before = now

    thread = threading.Thread(target=look, name="standing still")
    thread.start()
    try:
        yield gaps
    finally:
        is_over.set()
        thread.join()


async def never_held(gaps: list[float]) -> None:
    """Fails when anything holds the event loop: a send that blocks would do so for seconds, while threads run on."""
    while True:
        seen, before = len(gaps), time.monotonic()
        await asyncio.sleep(LOOK_S)
        held_s, known = time.monotonic() - before, len(gaps)
        while held_s > HELD_S and len(gaps) == known:
            await asyncio.sleep(LOOK_S)  # the thread has not said yet for how long it stood still
        assert held_s - max(gaps[seen:], default=held_s) < HELD_S


async def heard_again(installation: Installation) -> None:
    """Sender and receiver find back to Redis by themselves: what only a wake-up can bring to work is done."""
    async with installation.api.deadline():
        while True:
            delivery = await installation.api.delivery()
            with suppress(TimeoutError):
                async with asyncio.timeout(2.0):
                    await installation.api.until(delivery, "delivered")
                    return
