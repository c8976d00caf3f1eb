"""How many rows a chunk has where the plan does not say: as many as make a good piece of work, and bound the memory."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import pyarrow as pa
from pyarrow import types

from serving.data.formats import Format
from serving.data.parquet_source import footer_of
from serving.data.streams import Text

MOST: Final = 131_072
_STEP: Final = 1024  # below it rows are so wide that one more or less matters
_CHUNK_BYTES: Final = 16 * 2**20
_LOOKED_AT_BYTES: Final = 2**20
_UNKNOWN_BYTES: Final = 64  # of a value whose width the type does not say


def chunk_rows_of(files: Sequence[Path], format_: Format, schema: pa.Schema, answer_bytes: int) -> int:
    """The rows of a chunk, by the width of those of the first file, or of a row's answer. Raises `DatasetInvalid`."""
    if format_.format in ("csv", "jsonl"):
        width_bytes = _text_width(files[0], format_)
    elif format_.format == "parquet":
        width_bytes = max(_parquet_width(files[0], schema), _memory_width(schema))
    else:
        width_bytes = _memory_width(schema)
    rows = int(_CHUNK_BYTES / max(width_bytes, answer_bytes, 1.0))
    return max(1, min(MOST, rows - rows % _STEP if rows > _STEP else rows))


def _text_width(path: Path, format_: Format) -> float:
    with closing(Text(path, format_)) as text:
        begin = b""
        while len(begin) < _LOOKED_AT_BYTES and (more := text.read(_LOOKED_AT_BYTES - len(begin))):
            begin += more
    return len(begin) / max(1, begin.count(b"\n"))


def _parquet_width(path: Path, schema: pa.Schema) -> float:
    """The bytes of a row, unpacked, in the columns that are read."""
    footer, size_bytes = footer_of(path), 0
    for group in range(min(footer.num_row_groups, 10)):
        row_group = footer.row_group(group)
        for at in range(row_group.num_columns):
            column = row_group.column(at)
            if column.path_in_schema.partition(".")[0] in schema.names:
                size_bytes += column.total_uncompressed_size
    rows = sum(footer.row_group(group).num_rows for group in range(min(footer.num_row_groups, 10)))
    return float(size_bytes / max(1, rows))


def _memory_width(schema: pa.Schema) -> float:
    """The bytes of a row as Arrow has it."""
    return sum(_width(field.type) for field in schema)


def _width(kind: pa.DataType) -> float:
    if types.is_fixed_size_list(kind):
        return float(kind.list_size * _width(kind.value_type))
    try:
        return float(kind.bit_width / 8)
    except ValueError:
        return _UNKNOWN_BYTES
