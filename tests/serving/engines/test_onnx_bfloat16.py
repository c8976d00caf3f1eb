"""bfloat16 as numpy's float32 and back, against the package that defines it for numpy."""

import ml_dtypes
import numpy as np

from serving.bfloat16 import narrowed, widened


def test_every_bfloat16_survives_the_way_there_and_back() -> None:
    bits = np.arange(2**16, dtype=np.uint16)
    again = narrowed(widened(bits))
    is_nan = np.isnan(widened(bits))
    assert np.array_equal(again[~is_nan], bits[~is_nan])
    assert np.isnan(widened(again[is_nan])).all()


def test_what_lies_between_goes_to_the_nearest_and_ties_to_even() -> None:
    drawn = np.random.default_rng(1).integers(0, 2**32, 100_000, dtype=np.uint32).view(np.float32)
    ties = (np.arange(2**15, dtype=np.uint32) << 16 | 0x8000).view(np.float32)
    values = np.concatenate([drawn, ties, np.array([np.finfo(np.float32).max], np.float32)])
    values = values[~np.isnan(values)]
    assert np.array_equal(narrowed(values), values.astype(ml_dtypes.bfloat16).view(np.uint16))


def test_a_scalar_stays_one() -> None:
    assert narrowed(np.array(1.0, np.float32)).shape == ()
    assert widened(np.array(0x3F80, np.uint16)) == 1.0
