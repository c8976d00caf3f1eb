"""What a thread knows of the request that it answers: until when, whether somebody still waits, and who counts on it.

A thread of the pool holds one ticket at a time; the batcher looks at it before it troubles the engine.
"""

import re
import time
from contextvars import ContextVar
from functools import lru_cache
from typing import Final

from serving.problems import Problem

_DURATION = re.compile(rb"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h)?")
_UNIT_S: Final = {b"ms": 0.001, b"s": 1.0, None: 1.0, b"m": 60.0, b"h": 3600.0}


class Ticket:
    """One request's claim to an answer. Deadlines are of `time.monotonic`."""

    __slots__ = ("deadline", "is_coming", "is_gone")

    def __init__(self, deadline: float | None = None) -> None:
        self.deadline = deadline
        self.is_gone = False  # nobody reads the answer any more
        self.is_coming = False  # on its way to a batcher, which was told so

    def refusal(self) -> Problem | None:
        """Why the engine need not be asked any more, if so."""
        if self.is_gone:
            return Problem(499, "client_gone", "the client closed its connection before it was its turn")
        if self.deadline is not None and time.monotonic() >= self.deadline:
            return too_late()
        return None


_none: Final = Ticket()
current: Final[ContextVar[Ticket]] = ContextVar("ticket", default=_none)


def deadline_of(value: bytes) -> float | None:
    """The deadline that a `Portside-Timeout` (30s, 500ms, 2m; plain seconds) sets from now; None if it is none."""
    seconds = _seconds(value)
    return None if seconds is None else time.monotonic() + seconds


@lru_cache(maxsize=256)
def _seconds(value: bytes) -> float | None:
    found = _DURATION.fullmatch(value.strip())
    return None if found is None else float(found[1]) * _UNIT_S[found[2]]


def too_late() -> Problem:
    """The problem of a request whose time is over before its turn came."""
    detail = "its time was over before it was its turn"
    return Problem(504, "prediction_timeout", detail, hint="allow more time, or add replicas")
