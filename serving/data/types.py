"""Arrow's types and our words for them."""

from collections.abc import Iterator
from typing import Final

import pyarrow as pa

from serving.data.formats import Column

JSON: Final = "json"  # the text of a JSON value: of an object, or where values have no type in common
DEEPEST_LIST: Final = 4

_SIMPLE: Final = (pa.int64(), pa.float64(), pa.bool_(), pa.string())


def _lists(kind: pa.DataType, depth: int) -> Iterator[pa.DataType]:
    for _ in range(depth):
        kind = pa.list_(kind)
        yield kind


# The types that text can have, by Arrow's own name.
_BY_NAME: Final = {
    str(each): each
    for each in (
        *_SIMPLE,
        *(nested for kind in _SIMPLE for nested in _lists(kind, DEEPEST_LIST)),
        pa.date32(),
        pa.timestamp("s"),
        pa.timestamp("us"),
        pa.timestamp("ns"),
    )
}
_BY_WORD: Final = {
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "string": pa.string(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
}
_TESTS: Final = (
    ("bool", pa.types.is_boolean),
    ("int64", pa.types.is_integer),
    ("float64", pa.types.is_floating),
    ("string", pa.types.is_string),
    ("string", pa.types.is_large_string),
    ("string", pa.types.is_string_view),
    ("timestamp", pa.types.is_timestamp),
    ("date", pa.types.is_date),
    ("decimal", pa.types.is_decimal),
    ("binary", pa.types.is_binary),
    ("binary", pa.types.is_large_binary),
    ("binary", pa.types.is_binary_view),
    ("binary", pa.types.is_fixed_size_binary),
    ("struct", pa.types.is_struct),
    ("map", pa.types.is_map),
    ("list", pa.types.is_list),
    ("list", pa.types.is_large_list),
    ("list", pa.types.is_fixed_size_list),
    ("time", pa.types.is_time),
    ("null", pa.types.is_null),
)


def word_of(kind: pa.DataType) -> str:
    """Our word for a type; Arrow's where we have none."""
    if pa.types.is_dictionary(kind):
        return word_of(kind.value_type)
    return next((word for word, test in _TESTS if test(kind)), str(kind))


def column_of(field: pa.Field) -> Column:
    """What is told of a field."""
    return Column(field.name, word_of(field.type), str(field.type), field.nullable)


def text_type(column: Column) -> pa.DataType:
    """The type that the cells of a text column are read as: a string where we know none."""
    return _BY_NAME.get(column.arrow_type) or _BY_WORD.get(column.type, pa.string())


def is_known(arrow_type: str) -> bool:
    """Whether text can be read as a type of this name."""
    return arrow_type in _BY_NAME
