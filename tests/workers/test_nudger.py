"""The nudger never blocks whoever commits work, whatever the broker does."""

import asyncio
import threading
from pathlib import Path

import pytest

from core.errors import Unavailable
from core.settings import Settings
from state.database import open_database
from state.signals import Signal
from tests.workers.platform import wait_for
from workers.boot import build_nudger
from workers.broker.open import UnsupportedBrokerUrl
from workers.nudger import MOST_QUEUED, Nudger


async def test_what_is_told_is_sent_in_order_and_flushed_at_stop() -> None:
    sent: list[tuple[str, str]] = []
    closed = threading.Event()
    nudger = Nudger(lambda lane, id: sent.append((lane, id)), closed.set)
    for number in range(50):
        nudger.nudge("control", f"op_{number}")
    await nudger.start()
    await nudger.stop()
    await wait_for(closed.is_set)  # a stop waits for a second only
    assert sent == [("control", f"op_{number}") for number in range(50)]


async def test_only_work_is_told_to_other_processes() -> None:
    sent: list[tuple[str, str]] = []
    closed = threading.Event()
    nudger = Nudger(lambda lane, id: sent.append((lane, id)), closed.set)
    nudger.hear(frozenset({Signal("work", "control", "op_1"), Signal("later", "control", "op_2"), Signal("routing")}))
    await nudger.start()
    await nudger.stop()
    await wait_for(closed.is_set)
    assert sent == [("control", "op_1")]


async def test_a_broker_that_hangs_costs_the_caller_nothing_and_the_queue_is_bounded() -> None:
    go, closed, sent = threading.Event(), threading.Event(), list[str]()

    def send(lane: str, id: str) -> None:
        go.wait()
        sent.append(id)

    nudger = Nudger(send, closed.set)
    await nudger.start()
    for number in range(3 * MOST_QUEUED):
        nudger.nudge("control", f"op_{number}")  # one that waited would wait for ever
    go.set()
    await nudger.stop()
    await wait_for(closed.is_set)
    assert MOST_QUEUED <= len(sent) <= MOST_QUEUED + 1


async def test_after_a_failure_what_piles_up_is_dropped() -> None:
    tried, closed = list[str](), threading.Event()

    def send(lane: str, id: str) -> None:
        tried.append(id)
        raise Unavailable("away")

    nudger = Nudger(send, closed.set, pause_s=3600.0)
    for number in range(100):
        nudger.nudge("control", f"op_{number}")
    await nudger.start()
    await nudger.stop()
    await wait_for(closed.is_set)
    assert tried == ["op_0"]


async def test_some_time_after_a_failure_wake_ups_are_sent_again() -> None:
    tried, sent = list[str](), list[str]()

    def send(lane: str, id: str) -> None:
        tried.append(id)
        if len(tried) == 1:
            raise Unavailable("away")
        sent.append(id)

    nudger = Nudger(send, lambda: None, pause_s=0.05)
    await nudger.start()
    try:
        async with asyncio.timeout(60):
            while not sent:
                nudger.nudge("control", f"op_{len(tried)}")
                await asyncio.sleep(0.01)
    finally:
        await nudger.stop()
    assert tried[0] == "op_0"
    assert sent[0] == "op_1"


async def test_the_in_process_broker_cannot_wake_another_process(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'test.db'}")
    with pytest.raises(UnsupportedBrokerUrl, match="redis://"):
        build_nudger(Settings(broker_url="inprocess://"), database)
    await database.close()
