"""What can be seen of a database from outside: how long transactions wait and take, and how full its pools are."""

import time
from dataclasses import dataclass, field
from typing import Literal, Protocol

Mode = Literal["read", "write"]
Result = Literal["committed", "rolled_back", "unavailable"]


@dataclass(slots=True)
class Timing:
    """One transaction: from the wish for a connection to its end."""

    began: float = field(default_factory=time.perf_counter)
    connected_at: float | None = None
    result: Result = "rolled_back"

    def connected(self) -> None:
        """The wait for a connection is over."""
        self.connected_at = time.perf_counter()


@dataclass(frozen=True, slots=True)
class PoolFacts:
    """One pool: how many connections it keeps, and how many are in use (a burst may take more than it keeps)."""

    name: str
    size: int
    in_use: int


class Observer(Protocol):
    """Who hears of transactions; it is called on the event loop and must not wait."""

    def transaction_ended(self, mode: Mode, timing: Timing) -> None:
        """One has ended, however it did."""
        ...


class NotObserved:
    """For processes that nobody watches."""

    def transaction_ended(self, mode: Mode, timing: Timing) -> None:
        """Nobody wants to know."""
