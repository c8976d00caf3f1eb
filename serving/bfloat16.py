"""bfloat16, which numpy does not have: as a column it is float32, whose upper half it is."""

import numpy as np
from numpy.typing import NDArray


def narrowed(column: NDArray[np.generic]) -> NDArray[np.uint16]:
    """The bits of the nearest bfloat16 of each float32, ties to even; a NaN stays one."""
    values = np.ascontiguousarray(column, np.float32).reshape(column.shape)
    bits = values.view(np.uint32)
    with np.errstate(over="ignore"):  # only a NaN's bits run over, and those are not taken
        nearest = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    chosen = np.where(np.isnan(values), bits | np.uint32(0x400000), nearest)
    return np.asarray(chosen >> np.uint32(16), np.uint16)


def widened(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The float32 of each bfloat16's bits, exactly."""
    return np.asarray(bits.astype(np.uint32) << np.uint32(16), np.uint32).view(np.float32)
