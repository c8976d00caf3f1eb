"""Values that come as text (a CSV cell, a form's part) in the types that JSON would have given them.

What cannot be read stays text: the validator then says what it is and what it must be. An empty text is a missing
value, but for a string that may not miss.
"""

import math
from collections.abc import Callable, Sequence

import msgspec

from serving.datatypes import FLOATS, INTEGERS
from serving.signature import InputField

Read = Callable[[str], object]
TRUTHS = {"true": True, "1": True, "false": False, "0": False}


def reader_of(field: InputField, *, is_scalar: bool) -> Read:
    """How one text is read for a field; a value with dimensions is a JSON list."""
    if not is_scalar:
        return read_nested
    if field.datatype in FLOATS:
        return read_float
    if field.datatype in INTEGERS:
        return read_integer
    if field.datatype == "BOOL":
        return read_boolean
    return read_missing if field.nullable or not field.required else str


def read_column(field: InputField, texts: Sequence[str], *, is_scalar: bool) -> list[object]:
    """Many texts of one field, at C speed where they are plainly numbers."""
    if is_scalar and field.datatype in FLOATS and "_" not in "".join(texts):
        try:
            numbers = list(map(float, texts))
        except ValueError:
            return [read_float(text) for text in texts]
        return list(numbers) if all(map(math.isfinite, numbers)) else [read_float(text) for text in texts]
    read = reader_of(field, is_scalar=is_scalar)
    return [read(text) for text in texts]


def read_float(text: str) -> object:
    """A finite number, nothing where it says that there is none, else the text."""
    if "_" in text:
        return text  # Python's own spelling, nobody else's
    try:
        number = float(text)
    except ValueError:
        return None if not text.strip() else text
    if math.isnan(number):
        return None
    return number if math.isfinite(number) else text


def read_integer(text: str) -> object:
    """A whole number, also written as `3.0`."""
    if "_" in text:
        return text
    try:
        return int(text)
    except ValueError:
        number = read_float(text)
    return int(number) if isinstance(number, float) and number.is_integer() else number


def read_boolean(text: str) -> object:
    """`true`, `false`, `1`, `0` in any case."""
    stripped = text.strip().lower()
    return TRUTHS.get(stripped, text) if stripped else None


def read_missing(text: str) -> object:
    """A string that may miss."""
    return text or None


def read_nested(text: str) -> object:
    """A JSON list."""
    if not text.strip():
        return None
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text
