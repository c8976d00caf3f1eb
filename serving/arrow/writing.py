"""Answers as an Arrow IPC stream: a column per column of the table, each in the engine's own datatype."""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from serving.answer_table import NamedColumn
from serving.arrow.templates import write_plain
from serving.json_text import plain
from serving.layouts import END


def write(columns: Sequence[NamedColumn], about: Mapping[str, str]) -> bytes:
    """See `open.write_stream`."""
    return write_plain(columns, about) or _written(columns, about)


def _written(columns: Sequence[NamedColumn], about: Mapping[str, str]) -> bytes:
    arrays = [_array(column.values) for column in columns]
    metadata = {f"portside.{name}": value for name, value in about.items()}
    batch = pa.RecordBatch.from_arrays(arrays, [column.name for column in columns], metadata=metadata)
    # What a writer over a stream in memory makes of it, in two thirds of the time.
    return b"".join((batch.schema.serialize(), batch.serialize(), END))


def _array(values: NDArray[np.generic] | list[object]) -> pa.Array:
    if isinstance(values, list):
        return _of_values(values)
    if values.dtype.kind not in "biuf" or 0 in values.shape[1:]:
        return _of_values(values if values.ndim == 1 else values.tolist())
    array = pa.array(np.ascontiguousarray(values).reshape(-1))
    for size in reversed(values.shape[1:]):
        array = pa.FixedSizeListArray.from_arrays(array, size)
    return array


def _of_values(values: NDArray[np.generic] | list[object]) -> pa.Array:
    """Values of one type, else each as a text of JSON: lists, objects and texts mixed have no type in common."""
    for kind in (pa.string(), None):
        try:
            return pa.array(values, kind)
        except (pa.ArrowException, OverflowError):
            continue
    texts = [None if value is None else msgspec.json.encode(value, enc_hook=plain).decode() for value in values]
    return pa.array(texts, pa.string())
