"""Answers as an Arrow IPC stream: a column per column of the table, each in the engine's own datatype."""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import ipc

from serving.answer_table import NamedColumn
from serving.json_text import plain


def write(columns: Sequence[NamedColumn], about: Mapping[str, str]) -> bytes:
    """See `open.write_stream`."""
    arrays = [_array(column.values) for column in columns]
    metadata = {f"portside.{name}": value for name, value in about.items()}
    fields = [pa.field(column.name, array.type) for column, array in zip(columns, arrays, strict=True)]
    schema = pa.schema(fields, metadata)
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.record_batch(arrays, schema=schema))
    written: bytes = sink.getvalue().to_pybytes()
    return written


def _array(values: NDArray[np.generic] | list[object]) -> pa.Array:
    if isinstance(values, list) or values.dtype.kind not in "biuf" or 0 in values.shape[1:]:
        return _of_values(values if isinstance(values, list) else values.tolist())
    array = pa.array(np.ascontiguousarray(values).reshape(-1))
    for size in reversed(values.shape[1:]):
        array = pa.FixedSizeListArray.from_arrays(array, size)
    return array


def _of_values(values: list[object]) -> pa.Array:
    """Values of one type, else each as a text of JSON: lists, objects and texts mixed have no type in common."""
    try:
        return pa.array(values, pa.string()) if all(map(_is_text, values)) else pa.array(values)
    except (pa.ArrowException, OverflowError):
        texts = [None if value is None else msgspec.json.encode(value, enc_hook=plain).decode() for value in values]
        return pa.array(texts, pa.string())


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str)
