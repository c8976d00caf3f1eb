"""Transactions count themselves; lanes, pools and clocks are looked up."""

import asyncio
import time

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import text

from core.errors import DatabaseBusy
from state.database import Database, open_database
from state.metrics import DatabaseMetrics, LaneMetrics


async def test_transactions_are_counted_by_mode_and_end_and_timed(database: Database) -> None:
    registry = CollectorRegistry()
    database.observe(DatabaseMetrics(registry))
    async with database.read() as session:
        await session.execute(text("SELECT 1"))
    with pytest.raises(ZeroDivisionError):
        async with database.write():
            raise ZeroDivisionError
    for mode, result in (("read", "committed"), ("write", "rolled_back")):
        labels = {"mode": mode, "result": result}
        assert registry.get_sample_value("portside_database_transactions_total", labels) == 1
        for name in ("wait", "transaction"):
            assert registry.get_sample_value(f"portside_database_{name}_seconds_count", {"mode": mode}) == 1


async def test_who_waits_for_a_connection_is_seen(database: Database) -> None:
    registry = CollectorRegistry()
    metrics = DatabaseMetrics(registry)
    database.observe(metrics)
    began, ended = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with database.write():
            began.set()
            await ended.wait()

    holding = asyncio.create_task(hold())
    await began.wait()
    asked = time.monotonic()
    await metrics.refresh(database)
    took_s = time.monotonic() - asked
    pool = "writer" if database.dialect == "sqlite" else "shared"
    assert registry.get_sample_value("portside_database_pool_in_use", {"pool": pool}) == 1
    ended.set()
    await holding
    assert registry.get_sample_value("portside_database_up") == 1
    skew = registry.get_sample_value("portside_clock_skew_seconds")
    assert skew is not None
    assert abs(skew) <= took_s / 2 + 0.01  # one clock for both: what differs is when each was read


async def test_a_database_that_is_away_is_seen_and_nothing_is_made_up() -> None:
    registry = CollectorRegistry()
    away = open_database("postgresql://nobody@127.0.0.1:9/nothing")
    away.observe(metrics := DatabaseMetrics(registry))
    lanes = LaneMetrics(registry)
    await metrics.refresh(away)
    await lanes.refresh(away)
    with pytest.raises(DatabaseBusy):
        async with away.read():
            pass
    await away.close()
    assert registry.get_sample_value("portside_database_up") == 0
    depth = registry.get_sample_value("portside_queue_depth", {"lane": "control"})
    assert depth is None or depth != depth  # not a number
    labels = {"mode": "read", "result": "unavailable"}
    assert registry.get_sample_value("portside_database_transactions_total", labels) == 3


async def test_lanes_are_shown_with_what_waits(database: Database) -> None:
    registry = CollectorRegistry()
    await LaneMetrics(registry).refresh(database)
    for lane in ("control", "predict", "deliver", "run"):
        assert registry.get_sample_value("portside_queue_depth", {"lane": lane}) == 0
        assert registry.get_sample_value("portside_queue_oldest_age_seconds", {"lane": lane}) == 0
