"""Values of one input field, nested as its shape says, to a numpy column; or what is wrong with them, and where."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from serving.datatypes import DTYPES, in_words
from serving.elements import Element, Unfit, Value, compile_element, describe_value
from serving.files import bytes_of, value_of
from serving.problems import FieldErrors
from serving.signature import InputField


class Absent:
    """The type of `ABSENT`, what stands where a record does not have a field."""


ABSENT: Final = Absent()
Where = Callable[[int], str]
Fast = Callable[[list[object]], NDArray[np.generic] | None]


@dataclass(frozen=True, slots=True)
class ColumnCheck:
    """One input field, compiled: `shape` is that of one value, which a column has one of per record."""

    field: InputField
    shape: tuple[int, ...]
    element: Element
    fast: Fast
    opens: bool = True  # whether `{"$base64": …}` and data URIs are read as the bytes that they stand for

    def column(self, values: list[object], where: Where, errors: FieldErrors) -> NDArray[np.generic] | None:
        """The column of these values, its first axis the values'. `None` when errors were noted or all are absent.

        `where` gives the JSON pointer of a value by its index. Exporters like to give a plain number the shape [1]:
        there, the number may stand without its list.
        """
        fast = self.fast(values)
        return _Walk(self, where, errors).column(values) if fast is None else fast


def compile_column(field: InputField, shape: tuple[int, ...]) -> ColumnCheck:
    """Compile the check of a field whose single values have this shape."""
    element = compile_element(field)
    return ColumnCheck(field, shape, element, _fast(element, shape))


def _fast(element: Element, shape: tuple[int, ...]) -> Fast:
    """The check of a column at C speed; it answers `None` unless every value is plainly right."""
    convert_all = element.convert_all
    if not shape:
        return convert_all
    is_short = len(shape) == 1
    size, is_plain = shape[0], shape == (1,)

    def fast(values: list[object]) -> NDArray[np.generic] | None:
        only = values[0]
        if is_short and len(values) == 1 and type(only) is list and len(only) == size:
            column = convert_all(only)
            return None if column is None else column.reshape(1, size)
        flat = flatten(values, () if is_plain and list not in map(type, values) else shape)
        column = None if flat is None else convert_all(flat.values)
        if flat is None or column is None:
            return None
        return column.reshape(flat.dimensions if len(flat.dimensions) > 1 else (-1, 1))

    return fast


@dataclass(frozen=True, slots=True)
class Flat:
    """Nested lists laid out flat, and the dimensions they had."""

    values: list[object]
    dimensions: tuple[int, ...]


def flatten(values: list[object], shape: tuple[int, ...]) -> Flat | None:
    """Unnest values of this shape level by level, at C speed; `None` unless they are regular and match it.

    A dimension has no values only where the model says so: kernels are rarely tried with none.
    """
    dimensions = [len(values)]
    level = values
    for expected in shape:
        if not level:  # below a dimension of no values nothing can be counted
            dimensions.append(max(expected, 0))
            continue
        if set(map(type, level)) != {list}:
            return None
        lists = cast("list[list[object]]", level)
        lengths = set(map(len, lists))
        length = lengths.pop()
        if lengths or (length != expected and (expected >= 0 or not length)):
            return None
        dimensions.append(length)
        level = lists[0] if len(lists) == 1 else list(chain.from_iterable(lists))
    return Flat(level, tuple(dimensions))


class _Walk:
    """The slow way over values that are not plainly right: finds each error, or accepts what needed a closer look."""

    def __init__(self, check: ColumnCheck, where: Where, errors: FieldErrors) -> None:
        self._field, self._shape, self._convert = check.field, check.shape, check.element.convert
        self._fast = check.element.convert_all
        self._array, self._where, self._errors = check.element.array, where, errors
        self._opens = check.opens
        self._dimensions: list[int | None] = [None if size < 0 else size for size in check.shape]
        self._may_miss = self._field.nullable or not self._field.required

    def column(self, values: list[object]) -> NDArray[np.generic] | None:
        """See `ColumnCheck.column`."""
        if not self._field.required and not self._field.nullable and all(_is_missing(value) for value in values):
            return None  # an input with a default of its own: left out
        before = self._errors.count
        blocks: list[list[Value] | None] = []
        for index, value in enumerate(values):
            if self._errors.is_full:
                break
            blocks.append(self._block(value, index))
        if self._errors.count > before or self._errors.is_full:
            return None
        size = int(np.prod([1 if each is None else each for each in self._dimensions], dtype=np.int64))
        flat: list[Value] = []
        for block in blocks:
            flat.extend([None] * size if block is None else block)
        return self._array(flat).reshape(len(values), *(1 if each is None else each for each in self._dimensions))

    def _block(self, value: object, index: int) -> list[Value] | None:
        """The flat values of one value, `None` for a missing one."""
        pointer = self._where(index)
        if value is ABSENT and self._field.required:
            self._errors.add(pointer, "is missing", f"it takes {self._expected()}")
            return []
        if _is_missing(value) and self._may_miss:
            if self._shape and DTYPES[self._field.datatype].kind != "f":
                self._errors.add(pointer, "is missing in this record only", "give it in every record or in none")
            return None
        block: list[Value] = []
        self._descend(value, 0, pointer, block, opens=self._opens)
        return block

    def _descend(self, value: object, axis: int, pointer: str, block: list[Value], *, opens: bool) -> None:
        """`opens` is false inside what was a file: its texts are no files again, and no pointer leads into it."""
        if self._errors.is_full:
            return
        is_file = not opens
        try:
            if opens and isinstance(value, dict | str | bytes):
                data = bytes_of(value)
                if data is not None:
                    value, is_file = value_of(data, self._field, self._shape[axis:]), True
                    if isinstance(value, list) and self._take_whole(value, axis, block):
                        return
            if axis == len(self._shape) or (self._shape == (1,) and not isinstance(value, list | dict)):
                block.append(self._convert(value))
                return
        except Unfit as unfit:
            self._errors.add(pointer, unfit.detail, unfit.hint)
            return
        if not isinstance(value, list):
            self._errors.add(pointer, f"is {describe_value(value)}; it must be a list", f"it takes {self._expected()}")
            return
        expected = self._dimensions[axis]
        if len(value) != (len(value) or 1 if expected is None else expected):
            self._wrong_length(value, axis, pointer)
            return
        self._dimensions[axis] = len(value)
        for index, each in enumerate(value):
            self._descend(each, axis + 1, pointer if is_file else f"{pointer}/{index}", block, opens=not is_file)

    def _take_whole(self, value: list[object], axis: int, block: list[Value]) -> bool:
        """Take what was a file at C speed, where all of it is plainly right."""
        flat = flatten([value], self._shape[axis:])
        if flat is None:
            return False
        known, given = self._dimensions[axis:], flat.dimensions[1:]
        is_alike = all(size in (None, each) for size, each in zip(known, given, strict=True))
        if not is_alike or self._fast(flat.values) is None:
            return False
        # The fast check knows the values of JSON, which has no NaN: that could have passed.
        if DTYPES[self._field.datatype].kind == "f" and not all(map(math.isfinite, cast("list[float]", flat.values))):
            return False
        self._dimensions[axis:] = given
        block.extend(cast("list[Value]", flat.values))
        return True

    def _wrong_length(self, value: list[object], axis: int, pointer: str) -> None:
        if value and self._shape[axis] < 0:
            detail = f"has {len(value)} values here where others have {self._dimensions[axis]}"
            self._errors.add(pointer, detail, "values of one request must have one shape; send the others separately")
            return
        given = list(nested_shape(value))
        expected = _show_shape(self._shape[axis:])
        self._errors.add(pointer, f"has the shape {given}; expected {expected}", f"it takes {self._expected()}")

    def _expected(self) -> str:
        words = in_words(self._field.datatype)
        if not self._shape:
            return f"{words} ({self._field.datatype})"
        return f"a nested list of shape {_show_shape(self._shape)}, each value {words} ({self._field.datatype})"


def nested_shape(value: object) -> tuple[int, ...]:
    """The shape that nested lists seem to have, judged by the first of each."""
    shape: list[int] = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return tuple(shape[:32])


def _show_shape(shape: tuple[int, ...]) -> str:
    return "[" + ", ".join("any" if size < 0 else str(size) for size in shape) + "]"


def _is_missing(value: object) -> bool:
    return value is ABSENT or value is None
