"""The port to where services live. Level-triggered: `apply` may be called any number of times."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from state.claims import Claim
from state.specs import ServiceSpec


@dataclass(frozen=True, slots=True)
class SeenReplica:
    """One replica as the target sees it."""

    id: str
    revision_id: str
    generation: int
    status: str
    reason: str | None
    message: str | None
    address: str | None
    created_at: int


class Target(Protocol):
    """Where services live."""

    async def apply(self, spec: ServiceSpec, claim: Claim | None = None) -> None:
        """Want this; raises `state.placements.StaleGeneration` when a newer generation was applied already.

        With the `claim` of the work that wants it: only while that stands, else raises `ClaimLost`. Its next holder
        works under the same generation and may be about to take the wish back.
        """
        ...

    async def remove(self, service_id: str, generation: int, claim: Claim | None = None) -> None:
        """Want no replica of the service any more; raises as `apply` does."""
        ...

    async def observe(self, service_id: str) -> Sequence[SeenReplica]:
        """The replicas that are not final, and the final ones of the present generation, oldest first."""
        ...

    def logs(self, replica_id: str, *, follow: bool, tail_bytes: int) -> AsyncIterator[bytes]:
        """The end of a replica's log at once, and what is added to it while `follow`."""
        ...
