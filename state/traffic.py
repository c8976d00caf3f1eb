"""What predictions did since the last samples, service by service and replica by replica.

Counted in plain integers on the event loop, by a gateway for those that it forwards, which wait for this (one look-up
and one search for each), and by a worker for the asynchronous ones. See `state.sampling` for what becomes of it.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from state.latencies import BOUNDS, BUCKETS
from state.sampling import Traffic

LEFT = 499  # the client did not wait: neither our error nor refused


@dataclass(slots=True)
class _Count:
    tenant_id: str
    service_id: str
    requests: int = 0
    errors: int = 0
    refused: int = 0
    latency: list[int] = field(default_factory=lambda: [0] * BUCKETS)


class TrafficCounter:
    """Counts the predictions of one process."""

    def __init__(self) -> None:
        self._of_replicas: dict[str, _Count] = {}
        self._of_services: dict[str, _Count] = {}

    def count(self, tenant_id: str, service_id: str, replica_id: str | None, status: int, took_s: float) -> None:
        """A prediction is answered, by this replica or by none; the time of the latter says nothing."""
        if replica_id is None:
            found = self._of_services.get(service_id)
            if found is None:
                found = self._of_services[service_id] = _Count(tenant_id, service_id)
        else:
            found = self._of_replicas.get(replica_id)
            if found is None:
                found = self._of_replicas[replica_id] = _Count(tenant_id, service_id)
            found.latency[bisect_right(BOUNDS, took_s)] += 1
        found.requests += 1
        if status >= 400:
            if status >= 500:
                found.errors += 1
            elif status != LEFT:
                found.refused += 1

    async def take(self) -> Sequence[Traffic]:
        """What was counted since this was asked last."""
        replicas, services = self._of_replicas, self._of_services
        self._of_replicas, self._of_services = {}, {}
        unanswered = [_traffic(None, count) for count in services.values()]
        return [*(_traffic(replica_id, count) for replica_id, count in replicas.items()), *unanswered]


def _traffic(replica_id: str | None, count: _Count) -> Traffic:
    return Traffic(
        count.tenant_id,
        count.service_id,
        replica_id,
        count.requests,
        count.errors,
        count.refused,
        {bucket: number for bucket, number in enumerate(count.latency) if number},
    )
