"""What every broker promises: wake-ups arrive, at least once while all is well, and nothing of them stays behind."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dramatiq
import pytest

from deploy.stack.redis import RedisServer
from tests.workers.patience import WITHIN_S
from tests.workers.platform import wait_for
from workers.actors import declare_wakes
from workers.broker.inprocess import InProcessBroker
from workers.broker.open import open_broker

LANES = ("control", "deliver")
Wake = Callable[[str, str], None]


@dataclass
class Carrier:
    """A broker of one kind: where wake-ups are sent, and workers that hear them."""

    server: RedisServer | None
    sending: dramatiq.Broker
    workers: list[dramatiq.Worker] = field(default_factory=list)
    _send: Wake | None = None

    def declare(self, wake: Wake) -> dramatiq.Broker:
        """Say what a wake-up does; answers the broker that hears, which over Redis is another process' one."""
        if self.server is None:
            self._send = declare_wakes(self.sending, LANES, wake)
            return self.sending
        if self._send is None:
            self._send = declare_wakes(self.sending, LANES, wake)
        broker = open_broker(self.server.url)
        declare_wakes(broker, LANES, wake)
        return broker

    def start_worker(self, broker: dramatiq.Broker) -> None:
        """Hear with one thread."""
        worker = dramatiq.Worker(broker, queues=set(LANES), worker_timeout=50, worker_threads=1)
        worker.start()
        self.workers.append(worker)

    def hear(self, wake: Wake) -> None:
        """Declare, and start a worker."""
        self.start_worker(self.declare(wake))

    def send(self, lane: str, hint: str) -> None:
        """Send one wake-up."""
        assert self._send is not None
        self._send(lane, hint)

    async def stop_workers(self) -> None:
        """Stop them and close their brokers."""
        for worker in self.workers:
            await asyncio.to_thread(worker.stop, 2000)
            worker.broker.close()
        self.workers.clear()

    def kept(self) -> int:
        """How much the broker still holds, of whatever kind."""
        if self.server is not None:
            return int(self.server.command("DBSIZE"))
        assert isinstance(self.sending, InProcessBroker)
        assert not self.sending.dead_letters
        return sum(queue.unfinished_tasks for queue in self.sending.queues.values())


@asynccontextmanager
async def open_carrier(server: RedisServer | None) -> AsyncIterator[Carrier]:
    """One whose workers are stopped at the end."""
    carrier = Carrier(server, open_broker(server.url if server else "inprocess://"))
    try:
        yield carrier
    finally:
        await carrier.stop_workers()
        carrier.sending.close()


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real Redis."""
    server = RedisServer.start(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(params=["inprocess", "redis"])
async def carrier(request: pytest.FixtureRequest) -> AsyncIterator[Carrier]:
    """Each test runs on both."""
    server: RedisServer | None = None
    if request.param == "redis":
        server = request.getfixturevalue("redis_server")
        server.flush()
    async with open_carrier(server) as carrier:
        yield carrier


async def test_a_wake_up_arrives_with_its_lane_and_hint(carrier: Carrier) -> None:
    heard: list[tuple[str, str]] = []
    carrier.hear(lambda lane, hint: heard.append((lane, hint)))
    carrier.send("control", "op_1")
    carrier.send("deliver", "dlv_1")
    await wait_for(lambda: len(heard) == 2)
    assert sorted(heard) == [("control", "op_1"), ("deliver", "dlv_1")]


async def test_a_wake_up_that_is_sent_twice_does_no_harm(carrier: Carrier) -> None:
    heard: Counter[str] = Counter()
    carrier.hear(lambda lane, hint: heard.update([hint]))
    for hint in ("op_1", "op_1", "op_2"):
        carrier.send("control", hint)
    await wait_for(lambda: heard["op_2"] == 1)
    assert heard["op_1"] >= 1


async def test_one_that_fails_is_gone_and_the_next_one_arrives(carrier: Carrier) -> None:
    heard: list[str] = []

    def wake(lane: str, hint: str) -> None:
        heard.append(hint)
        if hint == "bad":
            raise ValueError(hint)

    carrier.hear(wake)
    for hint in ["bad"] * 3 + ["good"]:
        carrier.send("control", hint)
    await wait_for(lambda: "good" in heard)
    assert heard == ["bad"] * 3 + ["good"]
    await wait_for(lambda: carrier.kept() == 0)


async def test_nothing_is_kept_of_what_was_heard(carrier: Carrier) -> None:
    heard: list[str] = []
    carrier.hear(lambda lane, hint: heard.append(hint))
    hints = [f"op_{number}" for number in range(100)]
    for hint in hints:
        carrier.send("control", hint)
    await wait_for(lambda: len(heard) == len(hints))
    assert heard == hints
    await wait_for(lambda: carrier.kept() == 0)


async def test_a_wake_up_that_was_sent_before_anybody_heard_arrives(carrier: Carrier) -> None:
    heard: list[str] = []
    hearing = carrier.declare(lambda lane, hint: heard.append(hint))
    carrier.send("control", "op_1")
    carrier.start_worker(hearing)
    await wait_for(lambda: heard == ["op_1"])


async def test_who_stops_takes_nothing_more(carrier: Carrier) -> None:
    heard: list[str] = []
    carrier.hear(lambda lane, hint: heard.append(hint))
    carrier.send("control", "op_1")
    await wait_for(lambda: heard == ["op_1"])
    await carrier.stop_workers()
    carrier.send("control", "op_2")
    assert heard == ["op_1"]
    assert carrier.kept() == 1


async def test_each_wake_up_of_a_burst_wakes_one_of_them_and_not_all(redis_server: RedisServer) -> None:
    redis_server.flush()
    heard: Counter[str] = Counter()
    by: Counter[int] = Counter()

    def hearing(number: int) -> Wake:
        def wake(lane: str, hint: str) -> None:
            heard[hint] += 1
            by[number] += 1

        return wake

    sent: list[str] = []

    async def burst(carrier: Carrier) -> None:
        hints = [f"op_{len(sent) + number}" for number in range(60)]
        sent.extend(hints)
        for hint in hints:
            carrier.send("control", hint)
        await wait_for(lambda: len(heard) == len(sent))

    async with open_carrier(redis_server) as carrier:
        for number in range(3):
            carrier.hear(hearing(number))
        async with asyncio.timeout(WITHIN_S):
            while len(by) < 3:  # who waits longest is woken, and the last one may only just begin to wait
                await burst(carrier)
    assert heard == dict.fromkeys(sent, 1)


async def test_wake_ups_arrive_again_after_a_restart_of_redis(tmp_path: Path) -> None:
    server = RedisServer.start(tmp_path)
    heard: list[str] = []
    try:
        async with open_carrier(server) as carrier:
            carrier.hear(lambda lane, hint: heard.append(hint))
            carrier.send("control", "op_1")
            await wait_for(lambda: heard == ["op_1"])
            server.kill()
            server.restart()
            carrier.send("control", "op_2")  # at the first try, on a connection that the kill has cut
            await wait_for(lambda: heard == ["op_1", "op_2"])
    finally:
        server.stop()
