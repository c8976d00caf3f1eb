"""What only Redis can do to wake-ups: be away, be full, be somebody else's."""

import asyncio
import inspect
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing

import dramatiq
import pytest
import redis.exceptions

from deploy.stack.redis import RedisServer
from tests.workers.platform import wait_for
from workers.actors import declare_wakes
from workers.broker.open import UnsupportedBrokerUrl, open_broker
from workers.broker.redis import KEPT_S, MOST_WAITING, BrokerUnavailable, Contact, redis_errors

PASSWORD = "s3cret-word"
KEY = "portside:wake:control"
Heard = list[tuple[str, str]]
STOP_MS = 30_000

# Clusters are not spoken to, and what the library calls a programming error is one.
NOT_MAPPED = {
    "ChildDeadlockedError",
    "IncorrectPolicyType",
    "InvalidPipelineStack",
    "RedisClusterException",
    "CrossSlotTransactionError",
    "SlotNotCoveredError",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real Redis with a password."""
    server = RedisServer.start(tmp_path_factory.mktemp("redis"), password=PASSWORD)
    yield server
    server.stop()


@pytest.fixture
def broker(server: RedisServer) -> Iterator[dramatiq.Broker]:
    """A broker on an empty Redis that answers, at the end too."""
    server.flush()
    broker = open_broker(server.url)
    yield broker
    broker.close()


@asynccontextmanager
async def hearing(broker: dramatiq.Broker) -> AsyncIterator[Heard]:
    """A worker that writes down what it hears; its threads have ended after the block."""
    heard = Heard()
    declare_wakes(broker, ["control"], lambda lane, hint: heard.append((lane, hint)))
    worker = dramatiq.Worker(broker, queues={"control"}, worker_timeout=50, worker_threads=1)
    worker.start()
    try:
        yield heard
    finally:
        await asyncio.to_thread(worker.stop, STOP_MS)


def sender(broker: dramatiq.Broker) -> Callable[[str, str], None]:
    """Sends from a process that hears nothing."""
    return declare_wakes(broker, ["control"], lambda lane, hint: None)


def test_what_nobody_hears_is_bounded_in_number_and_age(server: RedisServer, broker: dramatiq.Broker) -> None:
    send = sender(broker)
    for number in range(MOST_WAITING + 50):
        send("control", f"op_{number}")
    assert int(server.command("LLEN", KEY)) == MOST_WAITING
    assert 0 < int(server.command("TTL", KEY)) <= KEPT_S


async def test_a_lane_without_room_leaves_its_wake_ups_to_others(server: RedisServer, broker: dramatiq.Broker) -> None:
    full = threading.Event()
    full.set()
    send = sender(broker)
    with (
        closing(open_broker(server.url, lambda lane: not full.is_set())) as busy,
        closing(open_broker(server.url)) as free,
    ):
        async with hearing(busy) as heard_by_full:
            send("control", "op_1")
            assert int(server.command("LLEN", KEY)) == 1
            async with hearing(free) as heard_by_free:
                await wait_for(lambda: heard_by_free == [("control", "op_1")])
            full.clear()
            send("control", "op_2")
            await wait_for(lambda: heard_by_full == [("control", "op_2")])


async def test_two_namespaces_on_one_redis_do_not_hear_each_other(server: RedisServer, broker: dramatiq.Broker) -> None:
    with closing(open_broker(f"{server.url}?namespace=blue")) as other:
        async with hearing(other) as heard:
            sender(broker)("control", "op_1")
            other.get_actor("wake_control").send("control", "op_2")
            await wait_for(lambda: heard == [("control", "op_2")])
            assert int(server.command("LLEN", KEY)) == 1


async def test_what_is_no_wake_up_is_dropped_and_the_next_one_arrives(
    server: RedisServer, broker: dramatiq.Broker, caplog: pytest.LogCaptureFixture
) -> None:
    server.command("RPUSH", KEY, "not json", '{"queue_name": "control"}')
    async with hearing(broker) as heard:
        broker.get_actor("wake_control").send("control", "op_1")
        await wait_for(lambda: heard == [("control", "op_1")])
    assert caplog.text.count("is no wake-up") == 2


def test_a_wrong_password_is_said_once_and_without_the_password(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    broker = open_broker(server.url.replace(PASSWORD, "wrong-word"))
    send = sender(broker)
    for _ in range(3):
        with pytest.raises(BrokerUnavailable, match="username-password"):
            send("control", "op_1")
    assert caplog.text.count("does not serve") == 1
    assert "wrong-word" not in caplog.text
    broker.close()


async def test_an_outage_is_said_once_however_many_notice_and_ends_by_itself(
    server: RedisServer, broker: dramatiq.Broker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "workers")
    async with hearing(broker) as heard:
        send = broker.get_actor("wake_control").send
        server.kill()
        try:
            began = time.monotonic()
            for number in range(5):
                with pytest.raises(BrokerUnavailable):
                    await asyncio.to_thread(send, "control", f"op_{number}")
            assert time.monotonic() - began < 10.0  # Dramatiq's own client takes 2.9 s to give one up
        finally:
            server.restart()
        await asyncio.to_thread(send, "control", "op_9")
        await wait_for(lambda: heard == [("control", "op_9")])
    assert caplog.text.count("does not serve") == 1
    assert caplog.text.count("serves again") == 1
    assert "Traceback" not in caplog.text


def test_a_redis_that_is_full_is_like_one_that_is_away(server: RedisServer, broker: dramatiq.Broker) -> None:
    server.command("CONFIG", "SET", "maxmemory", "1")
    try:
        with pytest.raises(BrokerUnavailable, match="maxmemory"):
            sender(broker)("control", "op_1")
    finally:
        server.command("CONFIG", "SET", "maxmemory", "0")


def test_what_many_notice_at_once_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "workers")
    contact = Contact("here")
    with pytest.raises(BrokerUnavailable), redis_errors(contact):
        raise redis.ConnectionError("refused")
    late = redis_errors(contact)
    late.__enter__()  # a command of another thread, which fails too and comes to say so when it is all over
    for _ in range(2):
        with redis_errors(contact):
            pass
    error = redis.ConnectionError("refused")
    with pytest.raises(BrokerUnavailable):
        late.__exit__(type(error), error, None)
    assert [record.message.split(" (")[0] for record in caplog.records] == [
        "Redis at here does not serve",
        "Redis at here serves again",
    ]


def test_every_exception_of_the_client_is_mapped() -> None:
    classes = [found for _, found in inspect.getmembers(redis.exceptions, inspect.isclass)]
    errors = {found for found in classes if issubclass(found, Exception)}
    strange = {found.__name__ for found in errors if not issubclass(found, redis.RedisError)}
    assert strange <= NOT_MAPPED
    for found in errors:
        if found.__name__ not in strange:
            with pytest.raises(BrokerUnavailable), redis_errors(Contact("test")):
                raise found.__new__(found)


@pytest.mark.parametrize("url", ["redis://localhost:port", "redis://localhost?no_such_option=1", "redis://[::1"])
def test_a_url_that_cannot_be_is_found_at_start(url: str) -> None:
    with pytest.raises(UnsupportedBrokerUrl, match="redis://"):
        open_broker(url)
