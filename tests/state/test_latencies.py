"""Percentiles from counted buckets against the exact ones, and counts of several processes added up."""

import random
from collections import Counter
from collections.abc import Sequence

import pytest

from state.latencies import BOUNDS, BUCKETS, LEAST_S, MOST_S, RELATIVE_ERROR, bucket_of, percentile

SEEDED = random.Random(7)
SHAPES = {
    "around a few milliseconds": [SEEDED.lognormvariate(-5.5, 0.6) for _ in range(5000)],
    "evenly over ten seconds": [SEEDED.uniform(0.0001, 10) for _ in range(5000)],
    "two kinds of requests": [SEEDED.choice((0.0003, 2.0)) * SEEDED.uniform(0.9, 1.1) for _ in range(3000)],
    "all the same": [0.0123] * 50,
    "only one": [0.4],
    "three": [0.001, 0.002, 0.9],
}


def counted(seconds: Sequence[float]) -> Counter[int]:
    return Counter(map(bucket_of, seconds))


def exact(seconds: Sequence[float], percent: int) -> float:
    """The nearest rank."""
    return sorted(seconds)[-(-len(seconds) * percent // 100) - 1]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("percent", [1, 50, 95, 99, 100])
def test_a_percentile_is_within_the_stated_error_of_the_exact_one(shape: str, percent: int) -> None:
    told = percentile(counted(SHAPES[shape]), percent)
    assert told == pytest.approx(exact(SHAPES[shape], percent), rel=RELATIVE_ERROR * 1.0001)
    assert RELATIVE_ERROR <= 0.05


def test_what_several_processes_counted_adds_up_to_what_one_would_have() -> None:
    everything = SHAPES["around a few milliseconds"]
    merged = sum((counted(everything[start::3]) for start in range(3)), Counter[int]())
    assert merged == counted(everything)
    assert percentile(merged, 99) == percentile(counted(everything), 99)


def test_nothing_counted_has_no_percentile() -> None:
    assert percentile({}, 50) is None
    assert percentile({3: 0}, 50) is None


def test_what_is_shorter_or_longer_than_any_prediction_is_told_as_the_shortest_and_the_longest() -> None:
    assert percentile(counted([0.0]), 50) == LEAST_S
    assert bucket_of(10 * MOST_S) == BUCKETS - 1
    assert percentile(counted([10 * MOST_S]), 50) == BOUNDS[-1] >= MOST_S
