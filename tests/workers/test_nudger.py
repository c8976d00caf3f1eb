"""The nudger never blocks whoever commits work, whatever the broker does."""

import asyncio
import threading
import time
from pathlib import Path

import pytest

from core.errors import Unavailable
from core.settings import Settings
from state.database import open_database
from state.signals import Signal
from tests.workers.platform import wait_for
from workers.boot import build_nudger
from workers.broker.open import UnsupportedBrokerUrl
from workers.nudger import MOST_QUEUED, PAUSE_S, Nudger


async def test_what_is_told_is_sent_in_order_and_flushed_at_stop() -> None:
    sent: list[tuple[str, str]] = []
    closed = threading.Event()
    nudger = Nudger(lambda lane, id: sent.append((lane, id)), closed.set)
    for number in range(50):
        nudger.nudge("control", f"op_{number}")
    await nudger.start()
    await nudger.stop()
    assert sent == [("control", f"op_{number}") for number in range(50)]
    assert closed.is_set()


async def test_only_work_is_told_to_other_processes() -> None:
    sent: list[tuple[str, str]] = []
    nudger = Nudger(lambda lane, id: sent.append((lane, id)), lambda: None)
    nudger.hear(frozenset({Signal("work", "control", "op_1"), Signal("later", "control", "op_2"), Signal("routing")}))
    await nudger.start()
    await nudger.stop()
    assert sent == [("control", "op_1")]


async def test_a_broker_that_hangs_costs_the_caller_nothing_and_the_queue_is_bounded() -> None:
    go, sent = threading.Event(), list[str]()

    def send(lane: str, id: str) -> None:
        go.wait()
        sent.append(id)

    nudger = Nudger(send, lambda: None)
    await nudger.start()
    began = time.monotonic()
    for number in range(3 * MOST_QUEUED):
        nudger.nudge("control", f"op_{number}")
    assert time.monotonic() - began < 1.0
    go.set()
    await nudger.stop()
    assert MOST_QUEUED <= len(sent) <= MOST_QUEUED + 1


async def test_after_a_failure_what_piles_up_is_dropped_and_later_wake_ups_are_sent() -> None:
    is_down, tried = threading.Event(), list[str]()
    is_down.set()

    def send(lane: str, id: str) -> None:
        tried.append(id)
        if is_down.is_set():
            raise Unavailable("away")

    nudger = Nudger(send, lambda: None)
    for number in range(100):
        nudger.nudge("control", f"op_{number}")
    await nudger.start()
    await wait_for(lambda: bool(tried))
    is_down.clear()
    began = time.monotonic()
    while "op_last" not in tried:
        nudger.nudge("control", "op_last")
        await asyncio.sleep(0.01)
    assert len(tried) < 10
    assert time.monotonic() - began < PAUSE_S + 1.0
    await nudger.stop()


async def test_the_in_process_broker_cannot_wake_another_process(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'test.db'}")
    with pytest.raises(UnsupportedBrokerUrl, match="redis://"):
        build_nudger(Settings(broker_url="inprocess://"), database)
    await database.close()
