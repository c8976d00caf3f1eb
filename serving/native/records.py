"""The compiled way of reading: one plain record in JSON to the columns that the engine is asked, or `None`.

For models whose requests wait for the engine, where `way` answers nothing. What it does not take Python reads from the
same bytes, and says what is wrong with it.
"""

import ctypes
import math
from typing import Final

import numpy as np

from serving.datatypes import DTYPES
from serving.elements import refuses_invalid
from serving.engines.base import Columns
from serving.native.bound import DATATYPES
from serving.native.library import Library
from serving.native.telling import Untold, encoded
from serving.problems import Problem
from serving.sample import candidate_samples
from serving.score import Scorer
from serving.signature import InputField

LEAST_VALUES: Final = 64  # of a record: below, the call costs what it saves
_SHORT_BYTES: Final = 64 * 1024  # read in 0.1 ms; what is longer is read in a thread, and others go on meanwhile
_MOST_RANK: Final = 6  # as there
_LEAST_BYTES_EACH: Final = 2  # a digit, and what parts it from the next


class _Column(ctypes.Structure):
    """As `source/record.cpp` has it."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("name_size", ctypes.c_size_t),
        ("dimensions", ctypes.POINTER(ctypes.c_int64)),
        ("rank", ctypes.c_size_t),
        ("datatype", ctypes.c_int64),
    )


class RecordReader:
    """Reads records of one model. Thread-safe: it never changes."""

    def __init__(self, library: Library, fields: tuple[InputField, ...]) -> None:
        """Raises `Untold` for inputs that only Python reads, or reads as soon."""
        self._shapes = {field.name: (1, *_dimensions(field)) for field in fields}
        self._dtypes = [DTYPES[field.datatype] for field in fields]
        values = sum(map(math.prod, self._shapes.values()))
        if values < LEAST_VALUES:
            raise Untold("its records are small")
        self._least_bytes = values * _LEAST_BYTES_EACH
        self._kept = [*map(_column, fields)]  # what the table below points at
        self._columns = (_Column * len(fields))(*self._kept)
        self._read = library.function("record")
        self._read_long = library.function_without_lock("record")

    def read(self, body: bytes) -> Columns | None:
        """The checked columns of a body that is one record, its inputs in their order; `None` for any other."""
        if len(body) < self._least_bytes:  # before there is memory for them
            return None
        columns = {
            name: np.empty(shape, dtype)
            for (name, shape), dtype in zip(self._shapes.items(), self._dtypes, strict=True)
        }
        count = len(columns)
        to = (ctypes.c_void_p * count)(*[column.ctypes.data for column in columns.values()])
        read = self._read if len(body) <= _SHORT_BYTES else self._read_long
        return columns if read(body, len(body), self._columns, count, to) else None


def let_read(library: Library, scorer: Scorer) -> None:
    """Let a model's records be read so, where that reads its sample as Python does. Raises `Untold`."""
    signature = scorer.signature
    if signature.batch != "stack":
        raise Untold("its records are not stacked")
    reader = RecordReader(library, signature.inputs)
    for record in candidate_samples(signature):
        try:
            (expected,) = scorer.validator.question({"inputs": record}).calls
        except Problem:
            continue
        given = {field.name: expected[field.name][0].tolist() for field in signature.inputs}
        found = reader.read(encoded({"inputs": given}))
        if found is None or not all(_is_same(found[name], expected[name]) for name in expected):
            raise Untold("it reads its sample otherwise")
        scorer.reads = reader.read
        return
    raise Untold("there is no sample to try it with")


def _is_same(
    one: np.ndarray[tuple[int, ...], np.dtype[np.generic]], other: np.ndarray[tuple[int, ...], np.dtype[np.generic]]
) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def _column(field: InputField) -> _Column:
    dimensions, name = _dimensions(field), field.name.encode()
    return _Column(
        name, len(name), (ctypes.c_int64 * len(dimensions))(*dimensions), len(dimensions), DATATYPES[field.datatype]
    )


def _dimensions(field: InputField) -> tuple[int, ...]:
    """The shape of one record's value. Raises `Untold` where that is free, or not all values are taken."""
    dimensions = field.shape[1:]
    if any(size < 1 for size in dimensions) or len(dimensions) > _MOST_RANK:
        raise Untold(f"its input {field.name!r} has a free size")
    if field.datatype not in DATATYPES or field.datatype == "BYTES":
        raise Untold(f"its input {field.name!r} is {field.datatype}")
    if refuses_invalid(field) and (field.values or field.intervals):
        raise Untold(f"its input {field.name!r} takes some values only")
    return dimensions
