"""The gateway's figures: counted in plain integers, shown as Prometheus' families."""

import time

import pytest
from prometheus_client import CollectorRegistry

from api.gateway.connection import ConnectionPool
from api.gateway.metrics import UNROUTED, GatewayMetrics, Tallies
from api.gateway.table import RoutingTable


@pytest.fixture
def tallies() -> Tallies:
    return Tallies()


@pytest.fixture
def registry(table: RoutingTable, tallies: Tallies) -> CollectorRegistry:
    registry = CollectorRegistry()
    GatewayMetrics(registry).attach(tallies, table, ConnectionPool())
    return registry


def requested(registry: CollectorRegistry, service: str, status: str) -> float | None:
    return registry.get_sample_value("portside_gateway_requests_total", {"service": service, "status": status})


def test_requests_are_shown_by_service_and_status_and_fall_into_buckets(
    registry: CollectorRegistry, tallies: Tallies
) -> None:
    now = tallies.began()
    tallies.ended(UNROUTED, 404, now)
    tallies.ended(UNROUTED, 404, tallies.began() - 20)
    tallies.ended(UNROUTED, 503, tallies.began() - 90)
    assert (requested(registry, "", "404"), requested(registry, "", "503")) == (2, 1)
    seconds = "portside_gateway_request_seconds"
    shown = {bound: registry.get_sample_value(f"{seconds}_bucket", {"le": bound}) for bound in ("10.0", "60.0", "+Inf")}
    assert shown == {"10.0": 1, "60.0": 2, "+Inf": 3}
    assert registry.get_sample_value(f"{seconds}_count") == 3
    assert registry.get_sample_value(f"{seconds}_sum") == pytest.approx(110, abs=10)
    assert registry.get_sample_value("portside_gateway_requests_in_flight") == 0


def test_a_service_that_is_gone_is_forgotten_and_the_sum_of_all_never_falls(
    registry: CollectorRegistry, tallies: Tallies
) -> None:
    tallies.ended("deleted-since", 200, tallies.began() - 1)
    assert requested(registry, "deleted-since", "200") is None
    assert UNROUTED not in tallies.by_service
    assert tallies.by_service == {}
    assert registry.get_sample_value("portside_gateway_request_seconds_count") == 1


def test_the_age_of_the_table_grows_until_it_is_compared_again(
    registry: CollectorRegistry, table: RoutingTable
) -> None:
    age = registry.get_sample_value("portside_gateway_table_age_seconds")
    assert age is not None
    assert 0 <= age < 60
    assert table.age_s >= age


def test_counting_costs_a_prediction_next_to_nothing(tallies: Tallies) -> None:
    began = time.thread_time()
    for _ in range(10_000):
        tallies.ended("iris", 200, tallies.began())
    assert (time.thread_time() - began) / 10_000 < 20e-6  # measured: 1 µs
