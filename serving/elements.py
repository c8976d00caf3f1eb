"""What a single value may be, compiled from an input field into closures.

`Element.convert` judges one value and says what is wrong with it; `Element.convert_all` is the fast way for many and
answers `None` when any of them needs a closer look, so that the two can never disagree about what is accepted.
"""

import difflib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import cast

import numpy as np
from numpy.typing import NDArray

from serving.datatypes import DTYPES, FLOATS, INTEGERS, float_limit, in_words, integer_range
from serving.problems import shorten
from serving.signature import Datatype, InputField, Interval, Scalar

Value = Scalar | None
PARSERS: dict[str, Callable[[str], object]] = {
    "date": date.fromisoformat,
    "dateTime": datetime.fromisoformat,
    "time": time.fromisoformat,
}
EXAMPLES = {"date": "2024-02-29", "dateTime": "2024-02-29T12:00:00", "time": "12:00:00"}
_MANY = 256  # numbers, of which an array finds the least and the greatest sooner than Python does
_FLOAT = frozenset({float})


class Unfit(Exception):
    """One value that the field does not take."""

    def __init__(self, detail: str, hint: str = "") -> None:
        super().__init__(detail)
        self.detail, self.hint = detail, hint


@dataclass(frozen=True, slots=True)
class Element:
    """The compiled check of one field's values."""

    convert: Callable[[object], Value]
    convert_all: Callable[[list[object]], NDArray[np.generic] | None]
    array: Callable[[list[Value]], NDArray[np.generic]]


def compile_element(field: InputField) -> Element:
    """Build the closures for one input field."""
    may_miss = field.nullable or not field.required
    convert = _with_domain(field, _CONVERTERS[_kind(field.datatype)](field))
    array = _array(field)

    def convert_one(value: object) -> Value:
        if may_miss and type(value) is float and math.isnan(value):
            return None  # JSON has no NaN: it comes from an array
        if value is None:
            if may_miss:
                return None
            raise Unfit(f"is null; it must be {in_words(field.datatype)}")
        return convert(value)

    return Element(convert_one, _fast(field, array, may_miss=may_miss), array)


def _array(field: InputField) -> Callable[[list[Value]], NDArray[np.generic]]:
    dtype = DTYPES[field.datatype]

    def array(values: list[Value]) -> NDArray[np.generic]:
        if dtype.kind == "f":
            return np.array([math.nan if value is None else value for value in values], dtype)
        # Only an object column can say "missing"; engines are told so by `LoadedModel.predict`.
        return np.array(values, np.object_ if None in values else dtype)

    return array


def _fast(
    field: InputField, array: Callable[[list[Value]], NDArray[np.generic]], *, may_miss: bool
) -> Callable[[list[object]], NDArray[np.generic] | None]:
    """The check of many values at C speed, in the order from types to ranges that makes each step safe."""
    domain, in_range, many = _fast_domain(field), _fast_range(field.datatype), _many_floats(field.datatype)
    dtype = DTYPES[field.datatype]
    types = _fast_types(field.datatype, may_miss=may_miss)
    parser = PARSERS.get(field.logical_type or "") if field.datatype == "BYTES" else None

    def convert_all(values: list[object]) -> NDArray[np.generic] | None:
        found = set(map(type, values))
        if not found <= types or (str in found and any(map(_may_be_data_uri, values))):
            return None
        if type(None) in found:
            known = cast("list[Scalar]", [value for value in values if value is not None])
            if known and not (in_range(known) and domain(known) and _all_parse(parser, known)):
                return None
            return array(cast("list[Value]", values))
        known = cast("list[Scalar]", values)
        if len(known) >= _MANY and found == _FLOAT:
            return many(known) if domain(known) else None
        if not (in_range(known) and domain(known) and _all_parse(parser, known)):
            return None
        return np.array(known, dtype)

    return convert_all


def _fast_range(datatype: Datatype) -> Callable[[list[Scalar]], bool]:
    if datatype not in FLOATS and datatype not in INTEGERS:
        return lambda values: True
    low, high = integer_range(datatype) if datatype in INTEGERS else (-float_limit(datatype), float_limit(datatype))

    def in_range(values: list[Scalar]) -> bool:
        numbers = cast("list[float]", values)
        return not numbers or (low <= min(numbers) and max(numbers) <= high)

    return in_range


def _many_floats(datatype: Datatype) -> Callable[[list[Scalar]], NDArray[np.generic] | None]:
    """The array of Python's floats where all are in range: not of whole numbers, which doubles may round into it."""
    dtype, limit = DTYPES[datatype], float_limit(datatype) if datatype in FLOATS else 0.0

    def many(values: list[Scalar]) -> NDArray[np.generic] | None:
        doubles = np.array(values, np.float64)
        is_in_range = -limit <= np.minimum.reduce(doubles) and np.maximum.reduce(doubles) <= limit
        return doubles.astype(dtype, copy=False) if is_in_range else None

    return many


def _kind(datatype: Datatype) -> str:
    if datatype in FLOATS:
        return "float"
    if datatype in INTEGERS:
        return "integer"
    return "string" if datatype == "BYTES" else "boolean"


def _fast_types(datatype: Datatype, *, may_miss: bool) -> frozenset[type]:
    """The Python types that JSON gives for values that need no closer look."""
    types: set[type] = {{"float": float, "integer": int, "string": str, "boolean": bool}[_kind(datatype)]}
    if datatype in FLOATS:
        types.add(int)
    if may_miss:
        types.add(type(None))
    return frozenset(types)


def _float(field: InputField) -> Callable[[object], Scalar]:
    limit = float_limit(field.datatype)

    def convert(value: object) -> Scalar:
        if type(value) is not float and type(value) is not int:
            raise _wrong_type(value, field.datatype)
        if not -limit <= value <= limit:
            raise Unfit(f"is {_show(value)}, which does not fit into {field.datatype}", f"the largest is {limit:g}")
        return float(value)

    return convert


def _integer(field: InputField) -> Callable[[object], Scalar]:
    low, high = integer_range(field.datatype)

    def convert(value: object) -> Scalar:
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is not int:
            raise _wrong_type(value, field.datatype)
        if not low <= value <= high:
            raise Unfit(f"is {_show(value)}, which does not fit into {field.datatype}", f"from {low} to {high}")
        return value

    return convert


def _boolean(field: InputField) -> Callable[[object], Scalar]:
    def convert(value: object) -> Scalar:
        if type(value) is not bool:
            raise _wrong_type(value, field.datatype)
        return value

    return convert


def _string(field: InputField) -> Callable[[object], Scalar]:
    temporal = field.logical_type or ""
    parser = PARSERS.get(temporal)

    def convert(value: object) -> Scalar:
        if type(value) is not str:
            raise _wrong_type(value, field.datatype)
        if parser and not _parses(parser, value):
            raise Unfit(f"is {_show(value)}, which is not a {temporal}", f"write it like {EXAMPLES[temporal]!r}")
        return value

    return convert


_CONVERTERS: dict[str, Callable[[InputField], Callable[[object], Scalar]]] = {
    "float": _float,
    "integer": _integer,
    "boolean": _boolean,
    "string": _string,
}


def _with_domain(field: InputField, convert: Callable[[object], Scalar]) -> Callable[[object], Scalar]:
    """Refuse what is outside the field's domain, where the model itself would."""
    if not refuses_invalid(field):
        return convert
    allowed, intervals = frozenset(field.values or ()), field.intervals or ()

    def checked(value: object) -> Scalar:
        converted = convert(value)
        if allowed and converted not in allowed:
            raise Unfit(f"is {_show(converted)}, which is not one of the allowed values", _choices(converted, field))
        if intervals and not _is_inside(converted, intervals):
            ranges = " or ".join(map(_in_numbers, intervals))
            raise Unfit(f"is {_show(converted)}, which is outside the allowed range", f"allowed: {ranges}")
        return converted

    return checked


def _fast_domain(field: InputField) -> Callable[[list[Scalar]], bool]:
    if not refuses_invalid(field):
        return lambda values: True
    allowed, intervals = frozenset(field.values or ()), field.intervals or ()
    return lambda values: (
        (not allowed or allowed.issuperset(values))
        and (not intervals or all(_is_inside(value, intervals) for value in values))
    )


def refuses_invalid(field: InputField) -> bool:
    """Whether a value outside the domain that the field declares is refused; else the model answers it in its way."""
    # PMML's other treatments (asIs, asMissing, asValue) are the model's own answer to such a value: let it give it.
    return field.invalid is not None and field.invalid.treatment == "returnInvalid"


def _is_inside(value: Scalar, intervals: Iterable[Interval]) -> bool:
    if isinstance(value, str):
        return True
    return any(
        (each.min is None or value > each.min or (each.min_inclusive and value == each.min))
        and (each.max is None or value < each.max or (each.max_inclusive and value == each.max))
        for each in intervals
    )


def _in_numbers(interval: Interval) -> str:
    left = "(-∞" if interval.min is None else f"{'[' if interval.min_inclusive else '('}{interval.min:g}"
    right = "∞)" if interval.max is None else f"{interval.max:g}{']' if interval.max_inclusive else ')'}"
    return f"{left}, {right}"


def _choices(value: Scalar, field: InputField) -> str:
    values = field.values or ()
    near = difflib.get_close_matches(str(value)[:80], [str(each) for each in values[:500]], n=1)
    listed = ", ".join(shorten(str(each), 40) for each in values[:10]) + (", …" if len(values) > 10 else "")
    return f"did you mean {near[0]!r}? Allowed: {listed}" if near else f"allowed: {listed}"


def _may_be_data_uri(value: object) -> bool:
    return isinstance(value, str) and value.startswith("data:")


def _parses(parser: Callable[[str], object], text: str) -> bool:
    try:
        parser(text)
    except ValueError:
        return False
    return True


def _all_parse(parser: Callable[[str], object] | None, values: list[Scalar]) -> bool:
    return parser is None or all(_parses(parser, str(value)) for value in values)


def _wrong_type(value: object, datatype: Datatype) -> Unfit:
    hint = ""
    if isinstance(value, str) and datatype != "BYTES" and _parses(float, value):
        hint = "write it without quotes"
    elif datatype == "BYTES" and isinstance(value, int | float) and not isinstance(value, bool):
        hint = f'write it in quotes: "{shorten(str(value), 40)}"'
    return Unfit(f"is {describe_value(value)}; it must be {in_words(datatype)} ({datatype})", hint)


def describe_value(value: object) -> str:
    """A value as an error message shows it: what it is, and a little of it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the string {shorten(value, 40)!r}"
    if isinstance(value, int | float):
        return f"the number {_show(value)}"
    return "a list" if isinstance(value, list) else "an object"


def _show(value: object) -> str:
    if isinstance(value, int) and abs(value) >= 10**20:
        return f"an integer of {value.bit_length() * 3 // 10} digits"
    return shorten(repr(value), 48)
