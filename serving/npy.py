""".npy files (NumPy Enhancement Proposal 1) of strangers: what a header says is checked before it is used."""

import io
import math
from dataclasses import dataclass
from tokenize import TokenError
from typing import Final

import numpy as np
from numpy.typing import NDArray

from serving.elements import Unfit

NPY_MAGIC: Final = b"\x93NUMPY"
KINDS: Final = "biufU"
HINT: Final = "write it with numpy.save, without objects"
# Version 3 differs by names outside Latin-1 in structured types, which no input takes.
READERS: Final = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
    (3, 0): np.lib.format.read_array_header_2_0,
}
# What NumPy's reader lets escape for a header that somebody made by hand.
BAD_HEADER = (
    ValueError, TypeError, KeyError, EOFError, OSError, OverflowError, MemoryError, RecursionError, SyntaxError,
    TokenError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Header:
    dimensions: tuple[int, ...]
    dtype: np.dtype[np.generic]
    is_fortran: bool
    end: int  # where the values begin


def array_of(data: bytes, shape: tuple[int, ...]) -> object:
    """The nested lists of the array, which must have this shape (-1: any size); NaN stays. Raises `Unfit`."""
    header = _header(data)
    _check_shape(header.dimensions, shape)
    # No dimension is 0 and no value is empty, so that there are as many lists as the file has bytes at most.
    size = math.prod(header.dimensions) * header.dtype.itemsize
    if size != len(data) - header.end:
        told = f"its header tells {_short(size)} bytes of values, it has {len(data) - header.end}"
        raise Unfit(f"is a .npy file that cannot be read: {told}", HINT)
    flat: NDArray[np.generic] = np.frombuffer(data, header.dtype, offset=header.end)
    if header.dtype.kind == "U":
        _check_text(data[header.end :], header.dtype)
    value: object = flat.reshape(header.dimensions, order="F" if header.is_fortran else "C").tolist()
    return value


def _header(data: bytes) -> _Header:
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        dimensions, is_fortran, dtype = READERS[version](file)
    except BAD_HEADER as error:
        raise Unfit(f"is a .npy file that cannot be read: {str(error)[:200]}", HINT) from error
    if dtype.kind not in KINDS or not dtype.itemsize or dtype.subdtype is not None:
        raise Unfit(f"is a .npy file that cannot be read: an array of {str(dtype)[:40]}", HINT)
    return _Header(dimensions, dtype, is_fortran, file.tell())


def _check_shape(dimensions: tuple[int, ...], shape: tuple[int, ...]) -> None:
    """A plain number may stand for a list of one, as in JSON."""
    if shape == (1,) and not dimensions:
        return
    if len(dimensions) == len(shape) and all(map(_fits, dimensions, shape)):
        return
    found = ", ".join(map(_short, dimensions[:32]))
    expected = ", ".join("any" if size < 0 else str(size) for size in shape)
    raise Unfit(f"is an array of the shape [{found}]; expected [{expected}]", "reshape it before numpy.save")


def _fits(size: int, wanted: int) -> bool:
    return size > 0 and (wanted < 0 or wanted == size)


def _check_text(values: bytes, dtype: np.dtype[np.generic]) -> None:
    try:
        values.decode("utf-32-be" if dtype.str[0] == ">" else "utf-32-le")
    except UnicodeDecodeError as error:
        raise Unfit("is a .npy file with texts that are not Unicode", HINT) from error


def _short(number: int) -> str:
    return str(number) if abs(number) < 10**20 else "more than 10^20"
