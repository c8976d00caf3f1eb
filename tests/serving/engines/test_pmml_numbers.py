"""Single-precision numbers reach PMML4S as the doubles that people write, in bulk as one by one."""

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.engines.pmml_java import shortest_decimal, shortest_decimals

DRAWN = np.random.default_rng(5)
NUMBERS = {
    "any bits": DRAWN.integers(0, 2**32, 20_000, dtype=np.uint32).view(np.float32),
    "few decimals": DRAWN.uniform(-1000, 1000, 20_000).round(3).astype(np.float32),
    "whole": DRAWN.integers(-(2**26), 2**26, 20_000).astype(np.float32),
    "powers of two": np.float32(2) ** np.arange(-140, 128, dtype=np.float32),
    "corners": np.array([0.0, -0.0, np.inf, -np.inf, 0.1, 1.5, 2**24, 2**24 - 1, 1e-45, 3.4028235e38], np.float32),
}


@pytest.mark.parametrize("numbers", NUMBERS.values(), ids=NUMBERS)
def test_a_column_is_converted_as_its_numbers_are_one_by_one(numbers: NDArray[np.float32]) -> None:
    numbers = numbers[~np.isnan(numbers)]
    expected = np.array([shortest_decimal(number) for number in numbers])
    assert np.array_equal(shortest_decimals(numbers).view(np.uint64), expected.view(np.uint64))


def test_what_is_missing_stays_so() -> None:
    assert np.isnan(shortest_decimals(np.array([np.nan, 1.5], np.float32))).tolist() == [True, False]
