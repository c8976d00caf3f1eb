"""Holds a prediction for a moment while its service is between two replicas, as when the node is replaced.

What is held costs one waiting coroutine; its body is not read beyond what has come.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from api.gateway.table import Backend, Route, RoutingTable
from api.gateway.turns import Turns
from core.errors import ReplicaUnavailable

# It is to have replicas and had some: the node is about to start others. One that is deploying never had.
BETWEEN = ("running", "degraded", "updating")
LOOK_S = 0.05  # a backend that was dropped comes back by time, not by a change of the table
MOST_HELD = 1000
MOST_OF_A_SERVICE = 1024  # unless the settings say otherwise


@dataclass(slots=True)
class Holding:
    """What of this process' predictions may wait for a replica: so long, so many."""

    table: RoutingTable
    hold_s: float
    held: int = 0
    turns: Turns = field(default_factory=lambda: Turns(MOST_OF_A_SERVICE))

    def until(self) -> float:
        """When a request that comes now is held no longer, by the loop's clock."""
        return asyncio.get_running_loop().time() + self.hold_s

    async def pick(self, find: Callable[[], Route], give_up_at: float) -> Backend:
        """The best backend of the route that `find` gives, now or in time. Raises what `find` raises, and
        `ReplicaUnavailable`."""
        route = find()
        backend = route.pick()
        if backend is not None:
            return backend
        if self.held < MOST_HELD:
            self.held += 1
            try:
                return await self._wait(find, give_up_at)
            finally:
                self.held -= 1
        raise unavailable(route)

    async def _wait(self, find: Callable[[], Route], give_up_at: float) -> Backend:
        loop = asyncio.get_running_loop()
        while True:
            route = find()
            if (backend := route.pick()) is not None:
                return backend
            if route.service.status not in BETWEEN or loop.time() >= give_up_at:
                raise unavailable(route)
            await self.table.changed(LOOK_S)


def unavailable(route: Route) -> ReplicaUnavailable:
    """No replica can take it."""
    name, status = route.service.name, route.service.status
    if route.backends:
        return ReplicaUnavailable(f"no replica of service '{name}' can be reached now; try again in a second")
    return ReplicaUnavailable(f"service '{name}' is {status}: no replica is ready yet")
