"""Values of Arrow columns as JSON has them, cut where they are long: for previews and statistics."""

import base64
import datetime
import decimal
import math
import re
from collections.abc import Mapping, Sequence
from typing import Final

import pyarrow as pa

LONGEST_TEXT: Final = 1000  # characters of a cell
MOST_ITEMS: Final = 100
_DEEPEST: Final = 6
_UNTOLD: Final = (ValueError, OverflowError, pa.ArrowException)  # for times in lists or structs
_FRACTION: Final = re.compile(r"\.?0+$")


def json_value(value: object, depth: int = 0) -> object:
    """A value as JSON; what is cut ends with an ellipsis, what is no number is null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return value if len(value) <= LONGEST_TEXT else f"{value[: LONGEST_TEXT - 1]}…"
    if isinstance(value, bytes):
        return json_value(base64.b64encode(value[:LONGEST_TEXT]).decode())
    if isinstance(value, Mapping | Sequence):
        return _nested(value, depth)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal | datetime.timedelta):
        return str(value)
    return json_value(str(value))


def values_of(column: pa.ChunkedArray) -> list[object]:
    """A column's values as Python's. Times are texts: Python has none before the year 1 and none of nanoseconds."""
    if pa.types.is_temporal(column.type):
        return [None if text is None else _iso(text) for text in _times(column).to_pylist()]
    try:
        found: list[object] = column.to_pylist()
    except _UNTOLD:
        return [_value(scalar) for scalar in column]
    return found


def is_cut(value: object) -> bool:
    """Whether `json_value` leaves something out of a text."""
    return isinstance(value, str | bytes) and len(value) > LONGEST_TEXT


def _nested(value: Mapping[object, object] | Sequence[object], depth: int) -> object:
    if depth >= _DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        items = list(value.items())[:MOST_ITEMS]
        return {str(key)[:LONGEST_TEXT]: json_value(each, depth + 1) for key, each in items}
    shown = [json_value(each, depth + 1) for each in value[:MOST_ITEMS]]
    return [*shown, "…"] if len(value) > MOST_ITEMS else shown


def _times(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Times as texts; where they have a zone, in UTC."""
    kind = column.type
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        column = column.cast(pa.timestamp(kind.unit))
    try:
        return column.cast(pa.string())
    except pa.ArrowException:  # durations, which are told in their own unit
        return column.cast(pa.int64()).cast(pa.string())


def _iso(text: str) -> str:
    if "." in text:
        text = _FRACTION.sub("", text)
    return text.replace(" ", "T", 1) if text[:1].isdigit() else text


def _value(scalar: pa.Scalar) -> object:
    try:
        value: object = scalar.as_py()
    except _UNTOLD:
        return "…"
    return value
