"""Arrow arrays as typed columns: numbers and truths as numpy arrays over the same memory, all else as values."""

from collections.abc import MutableMapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import lib, types

from serving.problems import Problem
from serving.signature import Datatype, InputField
from serving.typed import Mask, TypedColumn

LARGEST_TEXTS_BYTES: Final = 256 * 2**20  # of one column, once each row has its own
# Types by their numbers: pyarrow's own questions about them take a microsecond each.
_NUMBERS: Final = frozenset(
    {lib.Type_BOOL, lib.Type_INT8, lib.Type_INT16, lib.Type_INT32, lib.Type_INT64, lib.Type_UINT8, lib.Type_UINT16}
    | {lib.Type_UINT32, lib.Type_UINT64, lib.Type_HALF_FLOAT, lib.Type_FLOAT, lib.Type_DOUBLE}
)
_TEXTS: Final = frozenset({lib.Type_STRING, lib.Type_LARGE_STRING, lib.Type_STRING_VIEW})
_LISTS: Final = frozenset({lib.Type_LIST, lib.Type_LARGE_LIST, lib.Type_FIXED_SIZE_LIST})
_MOMENTS: Final = frozenset(
    {lib.Type_DATE32, lib.Type_DATE64, lib.Type_TIMESTAMP, lib.Type_TIME32, lib.Type_TIME64},
)
_OTHERS: Final = frozenset({lib.Type_NA, lib.Type_BINARY, lib.Type_LARGE_BINARY})
_NOT_READ: Final = "which is not read here"


def refusal(kind: pa.DataType) -> str | None:
    """Why a column of this type is not read; `None` for one that is."""
    if kind.id in _NUMBERS:
        return None
    if _is_list(kind):
        return refusal(kind.value_type) if _is_nested(kind.value_type) else _NOT_READ
    if isinstance(kind, pa.FixedShapeTensorType):
        if kind.permutation is not None and list(kind.permutation) != sorted(kind.permutation):
            return "whose dimensions are permuted"
        return refusal(kind.storage_type)
    if types.is_dictionary(kind):
        return None if kind.value_type.id in _NUMBERS | _TEXTS else _NOT_READ
    return None if kind.id in _TEXTS | _MOMENTS | _OTHERS or types.is_decimal(kind) else _NOT_READ


def is_foreign(kind: pa.DataType, datatype: Datatype) -> bool:
    """Whether no value of this type is one of the datatype: truths are no numbers, and neither are texts."""
    leaf = _leaf(kind).id
    return leaf in _NUMBERS and (datatype == "BYTES" or (leaf == lib.Type_BOOL) != (datatype == "BOOL"))


def is_laid_out(kind: pa.DataType) -> bool:
    """Whether an array of this type lies in one piece, at a place and of a size that its values have no part in."""
    while kind.id == lib.Type_FIXED_SIZE_LIST or isinstance(kind, pa.FixedShapeTensorType):
        kind = kind.storage_type if isinstance(kind, pa.FixedShapeTensorType) else kind.value_type
    return kind.id in _NUMBERS and kind.id != lib.Type_BOOL


def cells(array: pa.Array, known: set[tuple[int, ...]]) -> int:
    """How many values there are, also within lists, and of a dictionary unless it is `known`, as it then is."""
    count = len(array)
    while _is_list(array.type) or isinstance(array.type, pa.FixedShapeTensorType):
        array = array.storage if isinstance(array.type, pa.FixedShapeTensorType) else array.values
        count = max(count, len(array))
    if not types.is_dictionary(array.type) or (place := _place(array.dictionary)) in known:
        return count
    known.add(place)
    return count + len(array.dictionary)


def _leaf(kind: pa.DataType) -> pa.DataType:
    """What a list of lists has in the end, or a dictionary."""
    while _is_list(kind) or types.is_dictionary(kind) or isinstance(kind, pa.FixedShapeTensorType):
        kind = kind.storage_type if isinstance(kind, pa.FixedShapeTensorType) else kind.value_type
    return kind


@dataclass(frozen=True, slots=True)
class Dictionary:
    """What the indices of dictionary-encoded arrays stand for: a column, and its texts with the length of each."""

    column: TypedColumn
    texts: NDArray[np.object_]
    lengths: NDArray[np.int64]


# Those of one stream by where their memory lies: most batches share one, which may be large.
Dictionaries = MutableMapping[tuple[int, ...], Dictionary]


def column_of(array: pa.Array, field: InputField, dictionaries: Dictionaries) -> TypedColumn:
    """The column of a validated array, as the field that it feeds wants it."""
    kind = array.type
    if kind.id in _NUMBERS or _is_list(kind):
        regular = _regular(array)
        return TypedColumn(listed=_listed(array)) if regular is None else TypedColumn(regular, _missing(array))
    if isinstance(kind, pa.FixedShapeTensorType):
        column = column_of(array.storage, field, dictionaries)
        if column.array is None:
            return column
        return TypedColumn(column.array.reshape(len(array), *kind.shape), column.missing)
    if types.is_dictionary(kind):
        return _decoded(array, _dictionary(array.dictionary, field, dictionaries))
    if types.is_null(kind):
        return TypedColumn(listed=[None] * len(array))
    if kind.id in _MOMENTS:
        return TypedColumn(listed=_instants(array, field))
    return TypedColumn(listed=_listed(array))


def _is_list(kind: pa.DataType) -> bool:
    return kind.id in _LISTS and (kind.id != lib.Type_FIXED_SIZE_LIST or kind.list_size > 0)


def _is_nested(kind: pa.DataType) -> bool:
    """Whether a list may have it."""
    return kind.id in _NUMBERS | _TEXTS or _is_list(kind)


def _missing(array: pa.Array) -> Mask | None:
    if not array.null_count:
        return None
    bits = np.unpackbits(np.frombuffer(array.buffers()[0], np.uint8), bitorder="little")
    found: Mask = bits[array.offset : array.offset + len(array)] == 0
    return found


def _numbers(array: pa.Array) -> NDArray[np.generic]:
    """The memory of an array of numbers; a truth takes a bit of it, which becomes a byte. Gaps are filled with any."""
    buffer, offset, count = array.buffers()[1], array.offset, len(array)
    if types.is_boolean(array.type):
        if buffer is None:
            return np.zeros(count, np.bool_)
        bits = np.unpackbits(np.frombuffer(buffer, np.uint8), bitorder="little")
        return bits[offset : offset + count].view(np.bool_)
    dtype = np.dtype(array.type.to_pandas_dtype())
    if buffer is None or not count:
        return np.zeros(count, dtype)
    found = np.frombuffer(buffer, dtype, count, offset * dtype.itemsize)
    return found if found.flags.aligned else found.copy()


def _regular(array: pa.Array) -> NDArray[np.generic] | None:
    """Numbers, or lists of them that are all as long and have no gaps; `None` for what is not."""
    if not _is_list(array.type):
        return _numbers(array) if array.type.id in _NUMBERS else None
    count, offset = len(array), array.offset
    if types.is_fixed_size_list(array.type):
        size = array.type.list_size
        inner = array.values.slice(offset * size, count * size)
    else:
        offsets = _offsets(array)
        lengths = np.diff(offsets)
        size = int(lengths[0]) if count else 0
        if not size or array.null_count or not (lengths == size).all():
            return None
        inner = array.values.slice(int(offsets[0]), count * size)
    if inner.null_count:
        return None
    found = _regular(inner)
    return None if found is None else found.reshape(count, size, *found.shape[1:])


def _offsets(array: pa.Array) -> NDArray[np.signedinteger]:
    dtype = np.dtype(np.int64 if types.is_large_list(array.type) else np.int32)
    buffer = array.buffers()[1]
    if buffer is None or not len(array):
        return np.zeros(len(array) + 1, dtype)
    return np.frombuffer(buffer, dtype, len(array) + 1, array.offset * dtype.itemsize)


def _listed(array: pa.Array) -> list[object]:
    """The values of an array as JSON would have brought them, bytes and gaps aside."""
    kind = array.type
    if kind.id in _NUMBERS:
        return TypedColumn(_numbers(array), _missing(array)).plain()
    if types.is_decimal(kind):
        return [None if value is None else _number(value) for value in array.to_pylist()]
    if not _is_list(kind):
        if types.is_string_view(kind):
            _check_texts(int(_view_lengths(array).sum()))
        values: list[object] = array.to_numpy(zero_copy_only=False).tolist()
        return values
    if types.is_fixed_size_list(kind):
        offsets = (np.arange(len(array) + 1) + array.offset) * kind.list_size
    else:
        offsets = _offsets(array)
    inner = _listed(array.values)
    bounds = offsets.tolist()
    rows: list[object] = [inner[begin:end] for begin, end in pairwise(bounds)]
    missing = _missing(array)
    for index in () if missing is None else np.flatnonzero(missing).tolist():
        rows[index] = None
    return rows


def _dictionary(array: pa.Array, field: InputField, dictionaries: Dictionaries) -> Dictionary:
    place = _place(array)
    found = dictionaries.get(place)
    if found is None:
        column = column_of(array, field, dictionaries)
        texts = np.empty(len(column.listed), np.object_)
        texts[:] = column.listed
        lengths = np.array([len(value) if isinstance(value, str) else 0 for value in column.listed], np.int64)
        found = dictionaries[place] = Dictionary(column, texts, lengths)
    return found


def _place(array: pa.Array) -> tuple[int, ...]:
    """Where an array lies in memory, which is no other's as long as it lives."""
    addresses = (0 if buffer is None else buffer.address for buffer in array.buffers())
    return (array.type.id, len(array), array.offset, *addresses)


def _decoded(array: pa.Array, known: Dictionary) -> TypedColumn:
    """A dictionary's values in their places; equal texts stay one object."""
    if not len(array.dictionary):
        return TypedColumn(listed=[None] * len(array))
    missing = _missing(array.indices)
    indices = _numbers(array.indices).astype(np.intp)
    if missing is not None:
        indices[missing] = 0
    if known.column.array is not None:
        absent = None if known.column.missing is None else known.column.missing[indices]
        either = missing if absent is None else absent if missing is None else absent | missing
        return TypedColumn(known.column.array[indices], either)
    _check_texts(int(known.lengths[indices].sum()))
    decoded = known.texts[indices]
    if missing is not None:
        decoded[missing] = None
    return TypedColumn(listed=decoded.tolist())


def _view_lengths(array: pa.Array) -> NDArray[np.int32]:
    """The lengths of texts that are views, several of which may be of the same bytes."""
    buffer = array.buffers()[1]
    if buffer is None or not len(array):
        return np.zeros(0, np.int32)
    views = np.frombuffer(buffer, np.int32, 4 * len(array), 16 * array.offset)
    lengths: NDArray[np.int32] = views.reshape(-1, 4)[:, 0].astype(np.int64)
    missing = _missing(array)
    return lengths if missing is None else lengths[~missing]


def _check_texts(size: int) -> None:
    if size > LARGEST_TEXTS_BYTES:
        detail = f"a column of the Arrow stream has more than {LARGEST_TEXTS_BYTES // 2**20} MiB of text"
        raise Problem(413, "too_large", detail, hint="send fewer rows at a time")


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


def _instants(array: pa.Array, field: InputField) -> list[object]:
    """Dates and times as the texts of ISO 8601 that such fields take."""
    kind = array.type
    if types.is_date32(kind):
        moments = _integers(array, np.int32).astype("datetime64[D]")
    elif types.is_date64(kind):
        moments = _integers(array, np.int64).astype("datetime64[ms]").astype("datetime64[D]")
    else:
        width = np.int32 if types.is_time32(kind) else np.int64
        moments = _integers(array, width).astype(f"datetime64[{kind.unit}]")
        if kind.unit == "ns":
            moments = moments.astype("datetime64[us]")  # what Python and PMML know
    if field.logical_type == "date" and (moments == moments.astype("datetime64[D]")).all():
        moments = moments.astype("datetime64[D]")  # as pandas has dates
    texts = np.datetime_as_string(moments)
    if types.is_time(kind):
        texts = np.array([text.partition("T")[2] for text in texts.tolist()], np.object_)
    told: list[object] = texts.tolist()
    if types.is_timestamp(kind) and kind.tz is not None and field.logical_type != "date":
        told = [f"{text}Z" for text in told]
    missing = _missing(array)
    return told if missing is None else [None if gone else text for gone, text in zip(missing, told, strict=True)]


def _integers(array: pa.Array, dtype: type[np.signedinteger]) -> NDArray[np.int64]:
    """The numbers behind an array of dates or times."""
    buffer = array.buffers()[1]
    if buffer is None or not len(array):
        return np.zeros(len(array), np.int64)
    width = np.dtype(dtype).itemsize
    return np.frombuffer(buffer, dtype, len(array), array.offset * width).astype(np.int64)
