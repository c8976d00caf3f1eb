"""Rows with which trees are tried: where an answer changes, which is at their thresholds.

Made by arithmetic alone: to import numpy.random would cost a replica 15 ms of its start, and 6 MiB.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from serving.native.forest import Trees

_ODD_SHARE: Final = 1 / 16
_ODD: Final = np.array([np.nan, np.inf, -np.inf, 0, -0.0], np.float32)
_AWAY: Final = np.array([-np.inf, 0, np.inf], np.float32)
_WIDEST: Final = 9.0  # of what stands at no threshold


def rows_around(trees: Trees, count: int, seed: int) -> NDArray[np.float32]:
    """Rows `[count, width]` whose numbers stand at the thresholds, next to them, and far from them, or are missing.

    Always the same ones for a seed.
    """
    chance = _Chance(seed)
    shape = count, trees.width
    rows = ((chance.shares(shape) * 2 - 1) * _WIDEST).astype(np.float32)
    splits = trees.nodes[trees.nodes["kind"] > 0]
    thresholds = splits["value"][np.argsort(splits["feature"], kind="stable")]
    counts = np.bincount(splits["feature"], minlength=1)
    features = np.flatnonzero(counts)
    begins = (np.cumsum(counts) - counts)[features]
    at = begins + chance.places((count, len(features)), counts[features])
    chosen, away = thresholds[at], _AWAY[chance.places(at.shape, len(_AWAY))]
    with np.errstate(over="ignore"):  # next to the largest number is infinity
        rows[:, features] = np.where(away == 0, chosen, np.nextafter(chosen, away))
    return np.where(chance.shares(shape) < _ODD_SHARE, _ODD[chance.places(shape, len(_ODD))], rows)


class _Chance:
    """Numbers without a pattern (SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators",
    2014)."""

    def __init__(self, seed: int) -> None:
        self._at = seed << 32

    def shares(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Numbers from 0 to below 1."""
        size = int(np.prod(shape))
        mixed = np.arange(self._at, self._at + size, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        self._at += size
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
        mixed ^= mixed >> np.uint64(31)
        return ((mixed >> np.uint64(11)) / 2.0**53).reshape(shape)

    def places(self, shape: tuple[int, ...], counts: int | NDArray[np.int64]) -> NDArray[np.int64]:
        """Whole numbers from 0 to below the counts."""
        return (self.shares(shape) * counts).astype(np.int64)
