"""Decides where a prediction runs: on the event loop when that is quicker than the way to a thread, else in the pool.

The loop must stay free for health checks, so only calls that take less than a millisecond may hold it.
"""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
INLINE_S = 0.001  # a hop to a thread and back costs about 0.1 ms, ten times the work of a small model
INLINE_BODY_BYTES = 32 * 1024
# A moving median and not a mean: on a busy machine a quick call is now and then held up for long.
_STEP = 1.05
_FLOOR_S = 1e-6
_COLD = 10
# One such call gets the loop out of harm's way. Where it stands alone it was the machine that stood still and not the
# model (a container at its processor limit does for that long): a few quick ones in threads prove it. Else it takes 30.
_HARMFUL_S = 0.05
_PROOF = 2
_ALONE = 1000  # calls since the one before


class Pace:
    """A moving median of how long the model takes for small requests."""

    def __init__(self, first_s: float, *, may_hold_loop: bool = True, most_bytes: int = INLINE_BODY_BYTES) -> None:
        """`may_hold_loop` is false for a model that is quickest when several requests reach it at once."""
        self._may_hold_loop, self._most_bytes = may_hold_loop, most_bytes
        self._median_s = max(first_s, _FLOOR_S)
        self._is_slow = first_s > INLINE_S  # the way back is harder, lest it swings
        self._in_doubt, self._since_harm = 0, _ALONE

    def fits_loop(self, body_bytes: int) -> bool:
        """Whether a request of this size may run on the loop."""
        return self._may_hold_loop and not self._is_slow and not self._in_doubt and body_bytes <= self._most_bytes

    def may_fit_loop(self) -> bool:
        """Whether small requests run on the loop, or may soon: the first calls of a cold engine (Java) are slower."""
        return self._may_hold_loop and self._median_s <= _COLD * INLINE_S

    def concerns(self, body_bytes: int) -> bool:
        """Whether such a request would run on the loop if it were quick there, so that it is worth to be timed."""
        return self._may_hold_loop and body_bytes <= self._most_bytes

    def timed(self, work: Callable[[], T], body_bytes: int) -> T:
        """Do the work and learn from it, if it is small enough to compare."""
        if body_bytes > self._most_bytes:
            return work()
        begun = time.perf_counter()
        try:
            return work()
        finally:
            self.observe(time.perf_counter() - begun)

    def observe(self, seconds: float) -> None:
        """Take one measured call into the median; it changes its mind with some reluctance."""
        if seconds > _HARMFUL_S:
            self._harmed()
            return
        self._since_harm += 1
        if self._in_doubt and seconds <= INLINE_S:
            self._in_doubt -= 1
        if seconds > self._median_s:
            self._median_s *= _STEP
        elif self._median_s > _FLOOR_S:
            self._median_s /= _STEP
        self._is_slow = self._median_s > (INLINE_S / 2 if self._is_slow else INLINE_S)

    def _harmed(self) -> None:
        is_alone = self._since_harm >= _ALONE
        self._in_doubt, self._since_harm = _PROOF, 0
        if not is_alone:
            self._median_s = max(self._median_s, 2 * INLINE_S)
            self._is_slow = True
