"""Columns that come typed, as from Arrow: in an input's own dtype at the speed of whole arrays, or as single values.

What is not plainly right is handed on as values, so that the check of values says what is wrong, in its words.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.columns import ColumnCheck
from serving.datatypes import DTYPES, FLOATS, float_limit, integer_range
from serving.elements import refuses_invalid
from serving.problems import FieldErrors, pointer_token
from serving.signature import Datatype, InputField

Mask = NDArray[np.bool_]
# Integers up to these are told exactly: two to the number of the significand's bits.
_EXACT: dict[Datatype, int] = {"FP16": 2**11, "BF16": 2**8, "FP32": 2**24, "FP64": 2**53}


@dataclass(frozen=True, slots=True)
class TypedColumn:
    """One value per row: in an `array` of numbers or truths whose first axis is the rows', else in `listed`.

    `missing` marks rows of the array that have no value; `None`: each has one.
    """

    array: NDArray[np.generic] | None = None
    missing: Mask | None = None
    listed: Sequence[object] = ()

    def chosen(self, some: Sequence[int]) -> "TypedColumn":
        """These rows of it."""
        if self.array is None:
            return TypedColumn(listed=[self.listed[index] for index in some])
        at = np.asarray(some, np.intp)
        return TypedColumn(self.array[at], None if self.missing is None else self.missing[at])

    def values(self) -> list[object]:
        """A value per row as JSON would have brought it; NaN, which it has not, is nothing."""
        if self.array is None or self.array.dtype.kind != "f" or self.array.ndim > 1:
            return self.plain()
        nan = np.isnan(self.array)
        return TypedColumn(self.array, nan if self.missing is None else nan | self.missing).plain()

    def plain(self) -> list[object]:
        """A value per row, `None` where it is missing."""
        if self.array is None:
            return list(self.listed)
        values: list[object] = self.array.tolist()
        for index in () if self.missing is None else np.flatnonzero(self.missing).tolist():
            values[index] = None
        return values


@dataclass(frozen=True, slots=True)
class TypedTable:
    """Columns by their names, each of `count` rows."""

    columns: list[str]
    given: list[TypedColumn]
    count: int

    def chosen(self, some: Sequence[int]) -> list[TypedColumn]:
        """These rows of each column; all of them are no copy."""
        return self.given if len(some) == self.count else [column.chosen(some) for column in self.given]

    def in_json(self) -> dict[str, object]:
        """The same as the JSON spelling of a table, bytes as they are."""
        rows = [list(row) for row in zip(*(column.values() for column in self.given), strict=True)]
        return {"columns": self.columns, "data": rows}


@dataclass(frozen=True, slots=True)
class Typing:
    """How typed columns become those of an engine. `passes_nan`: NaN and infinity are values, not a lack of one."""

    passes_nan: bool

    def whole(self, check: ColumnCheck, column: TypedColumn) -> NDArray[np.generic] | None:
        """The column as the engine takes it, the very memory where it can; `None` unless all of it is plainly right."""
        if column.array is None or not _fits(column.array.shape[1:], check.shape):
            return None
        converted = self._converted(check.field, column.array, column.missing)
        if converted is None:
            return None
        return converted.reshape(-1, 1) if check.shape == (1,) and converted.ndim == 1 else converted

    def takes_unseen(self, check: ColumnCheck, column: TypedColumn) -> bool:
        """Whether every column of this dtype and shape is the engine's as it is, whatever its numbers are."""
        array, field = column.array, check.field
        if array is None or column.missing is not None or array.dtype != DTYPES[field.datatype]:
            return False
        if array.ndim != 1 + len(check.shape) or not _fits(array.shape[1:], check.shape):
            return False
        has_domain = refuses_invalid(field) and bool(field.values or field.intervals)
        return not has_domain and (field.datatype not in FLOATS or self.passes_nan)

    def joined(self, check: ColumnCheck, places: Sequence[TypedColumn]) -> NDArray[np.generic] | None:
        """A vector from the columns of its places."""
        rows = 0 if places[0].array is None else len(places[0].array)
        vector = np.empty((rows, len(places)), DTYPES[check.field.datatype])
        for at, place in enumerate(places):
            if place.array is None or place.array.ndim != 1:
                return None
            converted = self._converted(check.field, place.array, place.missing)
            if converted is None or converted.dtype != vector.dtype:
                return None
            vector[:, at] = converted
        return vector

    def values(self, field: InputField, column: TypedColumn) -> list[object]:
        """The values for a closer look; those that pass here, and JSON has not, as one that passes there."""
        array = column.array
        if not self.passes_nan or array is None or array.dtype.kind != "f" or field.datatype not in FLOATS:
            return column.values()
        return TypedColumn(np.where(np.isfinite(array), array, 0), column.missing).values()

    def _converted(
        self, field: InputField, array: NDArray[np.generic], missing: Mask | None
    ) -> NDArray[np.generic] | None:
        if field.datatype in FLOATS:
            return self._floats(field, array, missing)
        if field.datatype == "BYTES" or (missing is not None and missing.any()):
            return None
        converted = _truths(array) if field.datatype == "BOOL" else _integers(field.datatype, array)
        return converted if converted is not None and _in_domain(field, array) else None

    def _floats(
        self, field: InputField, array: NDArray[np.generic], missing: Mask | None
    ) -> NDArray[np.generic] | None:
        dtype = DTYPES[field.datatype]
        if array.dtype.kind == "f":
            if not self.passes_nan and (nan := np.isnan(array)).any():
                if array.ndim > 1:
                    return None
                missing = nan if missing is None else missing | nan
            if not self._is_in_range(field.datatype, array, missing):
                return None
        elif array.dtype.kind not in "iu" or not _all_below(array, _EXACT[field.datatype]):
            return None
        converted = array.astype(dtype, copy=False)
        if missing is None or not missing.any():
            return converted if _in_domain(field, array) else None
        if not (field.nullable or not field.required) or (not field.nullable and missing.all()):
            return None
        converted = np.where(missing.reshape(-1, *[1] * (converted.ndim - 1)), dtype.type(math.nan), converted)
        return converted if _in_domain(field, array[~missing]) else None

    def _is_in_range(self, datatype: Datatype, array: NDArray[np.generic], missing: Mask | None) -> bool:
        is_narrow = array.dtype.itemsize <= DTYPES[datatype].itemsize
        if self.passes_nan and is_narrow:
            return True
        is_finite = np.isfinite(array)
        is_right = is_finite if is_narrow else np.abs(array) <= float_limit(datatype)
        if is_right.all():
            return True
        if self.passes_nan:
            is_right |= ~is_finite
        if missing is not None:
            is_right[missing] = True
        return bool(is_right.all())


@dataclass(frozen=True, slots=True)
class Assigned:
    """A typed table by inputs: `ready` columns, and the `values` of those that need a closer look.

    `suffixes` and `places` are what the table calls one of the latter and each place of a vector.
    """

    ready: dict[str, NDArray[np.generic]]
    values: dict[str, list[object]]
    suffixes: dict[str, str]
    places: dict[str, tuple[str, ...]]


def assign(
    checks: Mapping[str, ColumnCheck],
    sources: Mapping[str, int | tuple[int, ...]],
    columns: Sequence[str],
    given: Sequence[TypedColumn],
    typing: Typing,
) -> Assigned:
    """Give each input its columns. An input that has none is in neither part. Raises `Problem` 422 for an integer
    that a floating input would round."""
    assigned = Assigned({}, {}, {}, {})
    errors = FieldErrors()
    for name, source in sources.items():
        check = checks[name]
        at = (source,) if isinstance(source, int) else source
        fed = [given[index] for index in at]
        is_single = isinstance(source, int)
        whole = typing.whole(check, fed[0]) if is_single else typing.joined(check, fed)
        if whole is not None:
            assigned.ready[name] = whole
            continue
        if is_single:
            assigned.suffixes[name] = pointer_token(columns[at[0]])
        else:
            assigned.places[name] = tuple(columns[index] for index in at)
        for index, each in zip(at, fed, strict=True):
            _note_inexact(check.field, each, pointer_token(columns[index]), errors)
        listed = [typing.values(check.field, each) for each in fed]
        assigned.values[name] = listed[0] if is_single else [list(row) for row in zip(*listed, strict=True)]
    errors.raise_if_any()
    return assigned


def _note_inexact(field: InputField, column: TypedColumn, called: str, errors: FieldErrors) -> None:
    """Typed data says which numbers it means, so that rounding them is the caller's to ask for."""
    array = column.array
    if array is None or array.dtype.kind not in "iu" or field.datatype not in FLOATS or array.ndim > 1:
        return
    if _all_below(array, exact := _EXACT[field.datatype]):
        return
    bits = exact.bit_length() - 1
    for index, number in enumerate(array.tolist()):
        if errors.is_full:
            return
        significant = abs(number).bit_length() - (number & -number).bit_length() + 1
        if abs(number) > exact and significant > bits and (column.missing is None or not column.missing[index]):
            detail = f"is the number {number}, which {field.datatype} cannot tell exactly"
            errors.add(f"/inputs/{index}/{called}", detail, "send the column as floating point to have it rounded")


def _fits(given: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    if given == shape:
        return 0 not in given
    if shape == (1,) and not given:
        return True
    return len(given) == len(shape) and all(
        size > 0 and expected in (size, -1) for size, expected in zip(given, shape, strict=True)
    )


def _all_below(array: NDArray[np.generic], limit: int) -> bool:
    return not array.size or (int(array.min()) >= -limit and int(array.max()) <= limit)


def _truths(array: NDArray[np.generic]) -> NDArray[np.generic] | None:
    return array if array.dtype.kind == "b" else None


def _integers(datatype: Datatype, array: NDArray[np.generic]) -> NDArray[np.generic] | None:
    dtype = DTYPES[datatype]
    if array.dtype.kind not in "iuf":
        return None
    if array.dtype.kind != "f" and np.can_cast(array.dtype, dtype):
        return array.astype(dtype, copy=False)
    if array.dtype.kind == "f" and not (np.isfinite(array).all() and (array == np.floor(array)).all()):
        return None
    low, high = integer_range(datatype)
    if array.size and not (low <= int(array.min()) and int(array.max()) <= high):
        return None
    return array.astype(dtype)


def _in_domain(field: InputField, array: NDArray[np.generic]) -> bool:
    """Whether no value is one that the model itself refuses."""
    if not refuses_invalid(field) or not (field.values or field.intervals):
        return True
    if array.dtype.kind in "iu" and not _all_below(array, _EXACT["FP64"]):
        return False  # the comparisons below would round
    if field.values and not set(array.reshape(-1).tolist()) <= set(field.values):
        return False
    if not field.intervals:
        return True
    inside = np.zeros(array.shape, np.bool_)
    for each in field.intervals:
        low, high = -math.inf if each.min is None else each.min, math.inf if each.max is None else each.max
        above = np.greater_equal if each.min_inclusive or each.min is None else np.greater
        below = np.less_equal if each.max_inclusive or each.max is None else np.less
        inside |= above(array.astype(np.float64), low) & below(array.astype(np.float64), high)
    return bool(inside.all())
