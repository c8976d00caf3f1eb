"""The columns that a run writes: what they are called and of which Arrow type, known before the first row is scored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from serving.answer_table import NamedColumn
from serving.batch.plan import BatchFailed
from serving.json_text import plain
from serving.problems import Problem
from serving.sample import candidate_samples
from serving.score import Scorer
from serving.signature import OutputField

_OBJECT_BYTES: Final = 32
_PREFIX: Final = "predicted_"  # of an output whose name a column that goes through has already


@dataclass(frozen=True, slots=True)
class OutputColumn:
    """A column of the model's answers, what it is called in the output, its type there, and what a value takes."""

    name: str
    called: str
    kind: pa.DataType
    width_bytes: int

    def array(self, values: NDArray[np.generic] | list[object]) -> pa.Array:
        """Values of the engine's in this type. Raises `ValueError` for a vector of another length."""
        if isinstance(values, list) or values.dtype.kind == "O":
            return _of_objects(values, self.kind)
        if values.ndim > 1:
            return _of_vectors(values, self.kind)
        return pa.array(np.ascontiguousarray(values)).cast(self.kind)


def output_columns(scorer: Scorer, through: Sequence[str]) -> tuple[OutputColumn, ...]:
    """What the model answers to its sample, as columns. Raises `BatchFailed` where it answers none."""
    columns = _answered(scorer)
    fields = {field.name: field for field in scorer.signature.outputs}
    is_free = any(size < 0 for field in fields.values() for size in field.shape[1:])
    found: list[OutputColumn] = []
    taken = set(through)
    for column in columns:
        called = f"{_PREFIX}{column.name}" if column.name in taken else column.name
        if called in taken:
            detail = f"the dataset has a column {called!r}, and so has the output"
            raise BatchFailed("mapping_invalid", detail, "leave it out of pass_through")
        taken.add(called)
        kind = _kind(column, fields.get(column.name), is_free=is_free)
        found.append(OutputColumn(column.name, called, kind, _width_bytes(column)))
    return tuple(found)


def _width_bytes(column: NamedColumn) -> int:
    """What a row's value of the sample takes; of texts and objects, about."""
    values = column.values
    if isinstance(values, list) or values.dtype.kind == "O":
        return sum(_OBJECT_BYTES + len(str(value)) for value in values)
    return int(values.nbytes)


def _answered(scorer: Scorer) -> list[NamedColumn]:
    refusal: Problem | None = None
    for sample in candidate_samples(scorer.signature):
        try:
            return scorer.columns(scorer.validator.question({"inputs": [sample]}))
        except Problem as problem:
            refusal = problem
    why = refusal.detail if refusal else "its inputs are too large to make one"
    raise BatchFailed("model_refused", f"the model answers no sample, which would show its outputs: {why}")


def _kind(column: NamedColumn, field: OutputField | None, *, is_free: bool) -> pa.DataType:
    values = column.values
    if isinstance(values, list) or values.dtype.kind == "O":
        return _kind_of_objects(list(values), field)
    kind = pa.float32() if values.dtype == np.float16 else pa.from_numpy_dtype(values.dtype)
    for size in reversed(values.shape[1:]):
        kind = pa.list_(kind) if is_free or not size else pa.list_(kind, size)
    return kind


def _kind_of_objects(values: list[object], field: OutputField | None) -> pa.DataType:
    """The type of single values; what is neither a truth nor a number is a text, of JSON where it is none yet."""
    if field is not None and field.datatype == "BYTES":
        return pa.string()
    kinds: Mapping[type, pa.DataType] = {bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
    found = {type(value) for value in values if value is not None}
    return kinds.get(found.pop(), pa.string()) if len(found) == 1 else pa.string()


def _of_objects(values: NDArray[np.generic] | list[object], kind: pa.DataType) -> pa.Array:
    try:
        return pa.array(values, kind)
    except (pa.ArrowException, TypeError):
        if not pa.types.is_string(kind):
            raise
    return pa.array([_text(value) for value in values], kind)


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value, enc_hook=plain).decode()


def _of_vectors(values: NDArray[np.generic], kind: pa.DataType) -> pa.Array:
    array = pa.array(np.ascontiguousarray(values).reshape(-1))
    for size in reversed(values.shape[1:]):
        array = pa.FixedSizeListArray.from_arrays(array, size)
    return array if array.type == kind else array.cast(kind)
