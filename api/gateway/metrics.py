"""Figures about the prediction path. Counted in plain integers on the event loop, because Prometheus' own types take a
lock and a look-up each time; read by a collector when somebody scrapes.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import Message, Send

from api.gateway.connection import ConnectionPool
from api.gateway.table import RoutingTable
from state.queries.routing import RoutedService

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
UNROUTED: Final = ""  # one label for what names no service of ours, so that strangers cannot fill the memory


@dataclass(slots=True)
class Tally:
    """One service's requests: by status, and the seconds that they took together."""

    by_status: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0


class Tallies:
    """All requests of this gateway."""

    def __init__(self) -> None:
        self.by_service: dict[str, Tally] = {}
        self.by_bucket = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0
        self.in_flight = 0

    def began(self) -> float:
        """A request comes in; answers when."""
        self.in_flight += 1
        return time.perf_counter()

    def ended(self, service: str, status: int, began: float) -> float:
        """It is answered; 499 stands for a client that did not wait. Answers how many seconds it took."""
        took_s = time.perf_counter() - began
        self.in_flight -= 1
        self.seconds += took_s
        self.by_bucket[bisect_left(BUCKETS, took_s)] += 1
        tally = self.by_service.get(service)
        if tally is None:
            tally = self.by_service[service] = Tally()
        tally.by_status[status] = tally.by_status.get(status, 0) + 1
        tally.seconds += took_s
        return took_s

    def forget(self, live: Callable[[str], bool]) -> None:
        """Drop what was counted for services that are gone."""
        for name in list(self.by_service):
            if name != UNROUTED and not live(name):
                self.by_service.pop(name, None)


class StatusSeen:
    """Passes an answer on and remembers its status; whose it is, say those who know."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status_code = 499
        self.service: RoutedService | None = None  # of a prediction, once it is known which service is asked
        self.replica_id: str | None = None

    async def send(self, message: Message) -> None:
        """Pass one message on."""
        if message["type"] == "http.response.start":
            self.status_code = message["status"]
        await self._send(message)


class GatewayMetrics(Collector):
    """Turns the tallies, the table and the pool into Prometheus' families; `attach` says whose."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._source: tuple[Tallies, RoutingTable, ConnectionPool] | None = None
        registry.register(self)

    def attach(self, tallies: Tallies, table: RoutingTable, pool: ConnectionPool) -> None:
        """Read from these from now on."""
        self._source = tallies, table, pool

    def describe(self) -> Iterable[Metric]:
        """The families without their values."""
        return _families().all

    def collect(self) -> Iterable[Metric]:
        """The families as they are now; runs beside the event loop, so it copies before it looks."""
        families = _families()
        if self._source is not None:
            tallies, table, pool = self._source
            tallies.forget(table.knows)
            _fill_requests(families, tallies)
            families.in_flight.add_metric([], tallies.in_flight)
            families.idle.add_metric([], pool.idle_count)
            services, backends = table.counts
            families.services.add_metric([], services)
            families.replicas.add_metric([], backends)
            if table.is_loaded:
                families.age.add_metric([], table.age_s)
        return families.all


@dataclass(frozen=True, slots=True)
class _Families:
    requests: CounterMetricFamily
    seconds: CounterMetricFamily
    latency: HistogramMetricFamily
    in_flight: GaugeMetricFamily
    idle: GaugeMetricFamily
    age: GaugeMetricFamily
    services: GaugeMetricFamily
    replicas: GaugeMetricFamily

    @property
    def all(self) -> tuple[Metric, ...]:
        return (
            *(self.requests, self.seconds, self.latency, self.in_flight),
            *(self.idle, self.age, self.services, self.replicas),
        )


def _families() -> _Families:
    counter, gauge = CounterMetricFamily, GaugeMetricFamily
    prefix = "portside_gateway"
    return _Families(
        counter(f"{prefix}_requests", "Predictions by service and status (499: left).", labels=("service", "status")),
        counter(f"{prefix}_service_seconds", "Time that predictions took together.", labels=("service",)),
        HistogramMetricFamily(f"{prefix}_request_seconds", "Time to the end of a prediction's answer."),
        gauge(f"{prefix}_requests_in_flight", "Predictions that are under way."),
        gauge(f"{prefix}_idle_connections", "Kept connections to replicas that nobody uses now."),
        gauge(f"{prefix}_table_age_seconds", "Since when the routing table was not compared with the database."),
        gauge(f"{prefix}_services", "Services in the routing table."),
        gauge(f"{prefix}_replicas", "Replicas in the routing table that are used."),
    )


def _fill_requests(families: _Families, tallies: Tallies) -> None:
    for service, tally in list(tallies.by_service.items()):
        families.seconds.add_metric([service], tally.seconds)
        for status, count in list(tally.by_status.items()):
            families.requests.add_metric([service, str(status)], count)
    cumulative, buckets = 0, []
    for bound, count in zip((*map(str, BUCKETS), "+Inf"), list(tallies.by_bucket), strict=True):
        cumulative += count
        buckets.append((bound, cumulative))
    families.latency.add_metric([], buckets, tallies.seconds)
