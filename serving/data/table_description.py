"""The description of Parquet and Arrow, whose types are known beforehand."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from pyarrow import parquet

from serving.data.arrow_source import ArrowSource
from serving.data.description import Description, Report
from serving.data.dialect import MOST_COLUMNS
from serving.data.formats import DatasetInvalid, Format, Position
from serving.data.parquet_source import ParquetSource
from serving.data.source import Reading
from serving.data.streams import MIB, MOST_RATIO, damage_told
from serving.data.types import column_of

PIECE_BYTES: Final = 16 * MIB
SMALLEST_ROW_BYTES: Final = 128
MOST_ROWS: Final = 2**17
HARMLESS_ROWS: Final = 10**8  # a file with so many is no bomb, however small it is
_CELL_BYTES: Final = 16  # of a column whose file does not tell


def describe_table(path: Path, format: Format, found: Description, *, is_quick: bool, report: Report) -> Format:
    """Gather what a file tells, by its footer or its beginning where this must be quick. Raises `DatasetInvalid`."""
    source = _opened(path, format, 1)
    if len(source.schema) > MOST_COLUMNS:
        message = f"the file has {len(source.schema)} columns; at most {MOST_COLUMNS} are read"
        raise DatasetInvalid(message, "Put vectors into one column, as lists.")
    if not len(source.schema):
        raise DatasetInvalid("the file has no columns", "Write it with at least one column.")
    columns = tuple(column_of(field) for field in source.schema)
    for column in columns:
        found.column(column.name)
    size_bytes = path.stat().st_size
    source = _opened(path, format, _chunk_rows(source))
    pieces = source.pieces()
    for piece in pieces:
        chunk = source.read(piece)
        found.rows += chunk.rows_in
        if found.rows > max(HARMLESS_ROWS, MOST_RATIO * size_bytes):
            message = f"the file has more than {MOST_RATIO} rows for each of its bytes"
            raise DatasetInvalid(message, "Leave out columns that say nothing, and repeat no rows.")
        found.add(chunk.table)
        read_bytes = source.read_bytes if isinstance(source, ArrowSource) else size_bytes * found.rows // source.rows
        report(read_bytes, found.rows)
        if is_quick:
            if next(pieces, None) is not None:
                _estimate(source, found, size_bytes)
            break
    return replace(format, columns=columns)


def _opened(path: Path, format: Format, chunk_rows: int) -> ArrowSource | ParquetSource:
    reading = Reading([path], format, chunk_rows, Position(), None)
    return ArrowSource(reading) if format.format == "arrow" else ParquetSource(reading)


def _chunk_rows(source: ArrowSource | ParquetSource) -> int:
    row_bytes = source.row_bytes if isinstance(source, ParquetSource) else _CELL_BYTES * len(source.schema)
    return max(64, min(MOST_ROWS, PIECE_BYTES // max(SMALLEST_ROW_BYTES, row_bytes)))


def _estimate(source: ArrowSource | ParquetSource, found: Description, size_bytes: int) -> None:
    """Of a file with more rows than were read."""
    if isinstance(source, ArrowSource):
        found.rows = round(source.read_rows * size_bytes / max(1, source.read_bytes))
        found.is_estimated = True
        return
    found.rows = source.rows
    for name, told in _footer_statistics(source.footer).items():
        column = found.column(name)
        column.nulls, column.least, column.greatest = told
        column.count = found.rows - column.nulls
        column.distinct, column.total, column.finite = None, 0.0, 0


def _footer_statistics(footer: parquet.FileMetaData) -> Mapping[str, tuple[int, object, object]]:
    """Nulls, least and greatest value of each column without nesting whose row groups all tell them."""
    found: dict[str, tuple[int, object, object]] = {}
    with damage_told("the Parquet footer"):
        for place in range(footer.num_columns):
            path = footer.schema.column(place).path
            told = [footer.row_group(group).column(place).statistics for group in range(footer.num_row_groups)]
            if "." in path or any(each is None or not each.has_null_count for each in told):
                continue
            nulls = sum(each.null_count for each in told)
            bounds = [(each.min, each.max) for each in told if each.has_min_max]
            least = min((low for low, _ in bounds), default=None) if len(bounds) == len(told) else None
            greatest = max((high for _, high in bounds), default=None) if len(bounds) == len(told) else None
            found[path] = (nulls, least, greatest)
    return found
