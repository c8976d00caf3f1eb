"""Outlier ejection: a replica whose requests fail again and again is left out for a pause that grows.

Never all of them: who picks falls back on those that are left out. What tells a bad replica from a bad request is that
other requests do well on the others; one that spoils every replica ejects them all, and so none.
"""

import logging
import time
from dataclasses import dataclass
from typing import Final

log = logging.getLogger(__name__)

FAULTS: Final = 5  # in a row
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0
# 503 is a replica that has enough to do, 504 one whose caller had too little patience: both say so in time.
FAULTY: Final = frozenset({500, 502})
# An answer that nobody waited for long says nothing about the replica: its callers' patience is their own.
TELLING_S: Final = 0.9  # a second is what an impatient caller says, some of which is gone before the replica has it


@dataclass(slots=True)
class Record:
    """How one replica has done lately."""

    replica_id: str
    faults: int = 0  # in a row
    pauses: int = 0  # in a row: after a pause the first fault begins the next one
    until: float = 0.0

    @property
    def is_out(self) -> bool:
        """Whether the replica is left out now."""
        return self.until > 0 and self.until > time.monotonic()

    def answered(self, status: int) -> None:
        """The replica gave an answer."""
        if status in FAULTY:
            self.failed()
        elif self.faults or self.pauses:
            self.faults = self.pauses = 0
            self.until = 0.0

    def failed(self) -> None:
        """A request failed there: it broke off, or did not answer in time."""
        if self.is_out:  # it was sent before, or because no replica is better
            return
        self.faults += 1
        if self.faults >= FAULTS or self.pauses:
            pause_s = min(FIRST_PAUSE_S * 2 ** min(self.pauses, 10), LONGEST_PAUSE_S)
            self.until = time.monotonic() + pause_s
            log.warning("replica %s fails again and again and is left out for %g s", self.replica_id, pause_s)
            self.pauses += 1
            self.faults = 0

    def timed_out(self, after_s: float) -> None:
        """A request was not answered within so long."""
        if after_s >= TELLING_S:
            self.failed()
