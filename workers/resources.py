"""What handlers are given: the open backends of this process, built once in `workers/boot.py`."""

import time
from dataclasses import dataclass, field

from core.clock import Micros
from core.secrets import Vault
from core.settings import Settings
from state.claims import Claim, ClaimLost
from state.database import Database
from state.queries.predictions import Destination
from state.traffic import TrafficCounter
from state.worktables import Work
from storage.base import ArtifactStore
from storage.cache import ArtifactCache
from workers.metrics import WorkMetrics, unseen
from workers.replica_client import ReplicaClients
from workers.targets.base import Target


@dataclass(frozen=True, slots=True)
class Resources:
    """The outside world as a handler sees it."""

    settings: Settings
    database: Database
    store: ArtifactStore
    cache: ArtifactCache
    target: Target
    vault: Vault
    metrics: WorkMetrics = field(default_factory=unseen)
    replicas: ReplicaClients = field(default_factory=ReplicaClients)
    traffic: TrafficCounter = field(default_factory=TrafficCounter)


@dataclass(slots=True)
class Lease:
    """Until when a claim surely stands, by this process' own clock, which goes on while the process is paused."""

    until: float  # of time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether somebody else may hold the work by now."""
        return time.monotonic() >= self.until


@dataclass(frozen=True, slots=True)
class Clock:
    """The database's clock as this process can tell it without asking: what it said, and how long ago that was.

    Hosts' own clocks differ: what rows say of when work began or shall end is compared with this one only.
    """

    said: Micros
    heard_at: float = field(default_factory=time.monotonic)

    @property
    def now(self) -> Micros:
        """The database's clock, early by as long as the answer was under way."""
        return self.said + int((time.monotonic() - self.heard_at) * 1_000_000)


@dataclass(frozen=True, slots=True)
class Held:
    """Work that this process holds: the claim, the row as it was when claimed (do not write to it), and the lease.

    A prediction brings where it can be sent.
    """

    claim: Claim
    row: Work
    lease: Lease
    clock: Clock
    destination: Destination | None = None

    @property
    def is_late(self) -> bool:
        """Whether its deadline has passed."""
        return self.row.deadline_at is not None and self.row.deadline_at <= self.clock.now

    def check(self) -> None:
        """Before the world is touched: raises `ClaimLost` when the lease is over, as after a pause of this process."""
        if self.lease.is_over:
            raise ClaimLost(f"the lease of {self.claim.id} (epoch {self.claim.epoch}) is over")
