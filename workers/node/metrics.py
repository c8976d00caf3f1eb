"""Figures about the replicas that this node runs."""

from collections import Counter as CountOf
from collections.abc import Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from state.queries.node import ALIVE, PlacedService

# ONNX Runtime is there in a third of a second, a JVM in one and a half, a large forest in some ten.
READY_BUCKETS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


class NodeMetrics:
    """What the supervisor counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._replicas = Gauge("portside_replicas", "Replicas by their status.", ("status",), registry=registry)
        self._wanted = Gauge("portside_replicas_wanted", "Replicas that the placements ask for.", registry=registry)
        self._started = Counter(
            "portside_replica_starts", "Processes that were started.", ("service",), registry=registry
        )
        self._failed = Counter(
            "portside_replica_failures", "Replicas that ended unasked, or never began.", ("service", "reason"),
            registry=registry,
        )  # fmt: skip
        self._ready_seconds = Histogram(
            "portside_replica_ready_seconds", "From the start of a replica to its first readiness.",
            registry=registry, buckets=READY_BUCKETS,
        )  # fmt: skip
        self._look_seconds = Histogram(
            "portside_node_look_seconds", "How long one look of the node takes.", registry=registry
        )

    def looked(self, services: Sequence[PlacedService], took_s: float) -> None:
        """A look is over: what it found; nothing, when another node is at work."""
        statuses = CountOf(replica.status for service in services for replica in service.replicas)
        for status in ALIVE:
            self._replicas.labels(status).set(statuses[status])
        self._wanted.set(sum(service.wanted.replicas for service in services))
        self._look_seconds.observe(took_s)

    def started(self, service: str) -> None:
        """A replica begins."""
        self._started.labels(service).inc()

    def became_ready(self, took_s: float) -> None:
        """A replica answers its first readiness check."""
        self._ready_seconds.observe(took_s)

    def failed(self, service: str, reason: str | None) -> None:
        """A replica ended by itself; the reasons are a short list (see `endings`)."""
        self._failed.labels(service, reason or "unknown").inc()
