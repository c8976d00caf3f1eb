"""The port to where services and runs live. Level-triggered: what applies may be called any number of times."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from state.claims import Claim
from state.runplacing import SeenRun
from state.runspecs import RunSpec
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
    """Where services and runs live."""

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

    async def apply_run(self, spec: RunSpec, claim: Claim | None = None) -> None:
        """Want a process for this try of a run until it has a verdict; raises as `apply` does.

        A verdict stands for the generation and the attempt that it was given under; another one begins anew, from what
        the ledger has.
        """
        ...

    async def remove_run(self, run_id: str, generation: int, claim: Claim | None = None) -> None:
        """Want no process of the run any more: it is asked to end, and must within two seconds; raises as `apply`."""
        ...

    async def observe_run(self, run_id: str) -> SeenRun:
        """Whether the run has a process, how far it is, and how its last try ended."""
        ...

    def logs(self, id: str, *, follow: bool, tail_bytes: int) -> AsyncIterator[bytes]:
        """The end of a replica's or a run's log at once, and what is added to it while `follow`."""
        ...
