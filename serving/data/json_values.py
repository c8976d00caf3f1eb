"""Values of Arrow columns as JSON has them, cut where they are long: for previews and statistics."""

import base64
import datetime
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import pyarrow as pa

LONGEST_TEXT: Final = 1000  # characters of a cell
LARGEST_NESTED: Final = 10_000  # characters of a list or struct, all of its values together
MOST_ITEMS: Final = 100
_ITEM: Final = 10  # characters that a value takes at least
_DEEPEST: Final = 6
_UNTOLD: Final = (ValueError, OverflowError, pa.ArrowException)  # for times in lists or structs
_FRACTION: Final = re.compile(r"\.?0+$")


def json_value(value: object, longest: int = LONGEST_TEXT, largest: int = LARGEST_NESTED) -> object:
    """A value as JSON; what is cut ends with an ellipsis, what is no number is null.

    A text has so many characters, a list or struct as a whole so many: of lists in lists a small file has any number.
    """
    return _shown(value, _Room(longest, largest), 0)


@dataclass(slots=True)
class _Room:
    """For one value: the characters of a text, and those that are left for what is nested."""

    longest: int
    left: int


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


def _shown(value: object, room: _Room, depth: int) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        longest = room.longest if depth == 0 else min(room.longest, max(1, room.left))
        text = value if len(value) <= longest else f"{value[: longest - 1]}…"
        room.left -= len(text)
        return text
    if isinstance(value, bytes):
        return _shown(base64.b64encode(value[: room.longest]).decode(), room, depth)
    if isinstance(value, Mapping | Sequence):
        return _nested(value, room, depth)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return _shown(str(value), room, depth)


def _nested(value: Mapping[object, object] | Sequence[object], room: _Room, depth: int) -> object:
    if depth >= _DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        members: dict[str, object] = {}
        for key, each in islice(value.items(), MOST_ITEMS):
            if room.left <= 0:
                break
            name = str(key)[: room.longest]
            room.left -= _ITEM + len(name)
            members[name] = _shown(each, room, depth + 1)
        return members
    items: list[object] = []
    for each in value[:MOST_ITEMS]:
        if room.left <= 0:
            break
        room.left -= _ITEM
        items.append(_shown(each, room, depth + 1))
    return items if len(items) == len(value) else [*items, "…"]


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
