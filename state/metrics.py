"""Figures about the database and the lanes, in Prometheus' types. `refresh` looks when somebody scrapes, at most
every few seconds; the transactions count themselves.
"""

import time
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from sqlalchemy import select

from core.clock import now_micros
from core.errors import DatabaseBusy
from state.database import Database, db_now
from state.observing import Mode, Timing
from state.queries.lanes import UNDER_WAY, backlogs, runs_under_way
from state.worktables import LANES

TRANSACTION_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
LOOK_EVERY_S = 4.0  # the lanes cost a count over what waits: often enough for a scrape interval of 5 s and more


class DatabaseMetrics:
    """How the database does for this process: an `Observer`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "portside_database_transaction_seconds", "From the connection to the end of a transaction.",
            ("mode",), registry=registry, buckets=TRANSACTION_BUCKETS,
        )  # fmt: skip
        self._wait = Histogram(
            "portside_database_wait_seconds", "How long a transaction waited for a connection (on SQLite: its turn).",
            ("mode",), registry=registry, buckets=TRANSACTION_BUCKETS,
        )  # fmt: skip
        self._count = Counter(
            "portside_database_transactions", "Transactions by how they ended.", ("mode", "result"), registry=registry
        )
        self._size = Gauge(
            "portside_database_pool_size", "Connections that a pool keeps.", ("pool",), registry=registry
        )
        self._in_use = Gauge(
            "portside_database_pool_in_use", "Connections of a pool that are in use.", ("pool",), registry=registry
        )
        self._up = Gauge("portside_database_up", "1 if the database answered the last look.", registry=registry)
        self._skew = Gauge(
            "portside_clock_skew_seconds", "This process' clock minus the database's.", registry=registry
        )

    def transaction_ended(self, mode: Mode, timing: Timing) -> None:
        """Count one transaction."""
        now = time.perf_counter()
        self._count.labels(mode, timing.result).inc()
        self._wait.labels(mode).observe((timing.connected_at or now) - timing.began)
        if timing.connected_at is not None:
            self._seconds.labels(mode).observe(now - timing.connected_at)

    async def refresh(self, database: Database) -> None:
        """Look at the pools, and ask the database whether it is there and what time it has."""
        for pool in database.pools():
            self._size.labels(pool.name).set(pool.size)
            self._in_use.labels(pool.name).set(pool.in_use)
        try:
            async with database.read() as session:
                asked = now_micros()
                theirs = await session.scalar(select(db_now()))
        except DatabaseBusy:
            self._up.set(0)
            return
        self._up.set(1)
        self._skew.set(((asked + now_micros()) / 2 - (theirs or 0)) / 1_000_000)


class LaneMetrics:
    """How much work waits: of the whole platform, so that each process that looks sees the same."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("lane",)
        self._depth = Gauge(
            "portside_queue_depth", "Rows that are due and wait for a worker.", labels, registry=registry
        )
        self._oldest = Gauge(
            "portside_queue_oldest_age_seconds", "Since when the oldest of them is due.", labels, registry=registry
        )
        self._working = Gauge("portside_queue_working", "Rows that a worker holds.", labels, registry=registry)
        self._runs = Gauge("portside_runs", "Runs that have not ended.", ("status",), registry=registry)
        self._looked_at = float("-inf")

    async def refresh(self, database: Database) -> None:
        """Look at every lane; what cannot be known is not shown."""
        if time.monotonic() < self._looked_at + LOOK_EVERY_S:
            return
        try:
            async with database.read() as session:
                found, runs = await backlogs(session), await runs_under_way(session)
        except DatabaseBusy:
            for status in UNDER_WAY:
                self._runs.labels(status).set(float("nan"))
            for lane in LANES:
                for gauge in (self._depth, self._oldest, self._working):
                    gauge.labels(lane).set(float("nan"))
            return
        self._looked_at = time.monotonic()
        for status in UNDER_WAY:
            self._runs.labels(status).set(runs.get(status, 0))
        for backlog in found:
            self._depth.labels(backlog.lane).set(backlog.waiting)
            self._oldest.labels(backlog.lane).set(backlog.oldest_s)
            self._working.labels(backlog.lane).set(backlog.working)
