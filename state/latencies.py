"""How long predictions took, as counts in buckets whose bounds grow by a tenth, so that those of several processes can
be added up and a percentile still be told.

A percentile read from them is at most `RELATIVE_ERROR` beside the exact one (nearest rank): each bucket stands for the
value that is relatively as far from its lower bound as from its upper one.
"""

from bisect import bisect_right
from collections.abc import Mapping
from typing import Final

LEAST_S, MOST_S = 0.00001, 3600.0  # outside of these the nearest of them is told; no prediction may take longer
GROWTH: Final = 1.1
RELATIVE_ERROR: Final = (GROWTH - 1) / (GROWTH + 1)  # 4.8 %


def _bounds() -> tuple[float, ...]:
    found = [LEAST_S]
    while found[-1] < MOST_S:
        found.append(found[-1] * GROWTH)
    return tuple(found)


BOUNDS: Final = _bounds()
BUCKETS: Final = len(BOUNDS) + 1


def bucket_of(seconds: float) -> int:
    """The bucket that a duration falls into."""
    return bisect_right(BOUNDS, seconds)


def percentile(buckets: Mapping[int, int], percent: int) -> float | None:
    """The duration in seconds that so many percent do not exceed; nothing where nothing was counted."""
    rank = -(-sum(buckets.values()) * percent // 100)
    for bucket in sorted(buckets):
        rank -= buckets[bucket]
        if buckets[bucket] and rank <= 0:
            return _told(bucket)
    return None


def _told(bucket: int) -> float:
    if bucket == 0:
        return BOUNDS[0]
    if bucket >= len(BOUNDS):
        return BOUNDS[-1]
    lower, upper = BOUNDS[bucket - 1], BOUNDS[bucket]
    return 2 * lower * upper / (lower + upper)
