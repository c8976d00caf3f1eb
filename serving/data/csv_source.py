"""CSV files as chunks, by pyarrow's own reader: a piece goes through it whole, and again row by row where it fails."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
from pyarrow import csv

from serving.data.cutting import Dialect
from serving.data.formats import BadRow, Format
from serving.data.source import Chunk, Piece, Reading
from serving.data.text_pieces import TextPieces
from serving.data.types import text_type

BLOCK_BYTES: Final = 2**20  # of pyarrow's; larger ones leave the processor's caches


class CsvReader:
    """Rows of text to a table, for columns that are known."""

    def __init__(self, format: Format, columns: Sequence[str] | None) -> None:
        self.names = [column.name for column in format.columns]
        kinds = {column.name: text_type(column) for column in format.columns}
        self._included = self.names if columns is None else list(columns)
        self.schema = pa.schema([(name, kinds[name]) for name in self._included])
        self._format = format
        self._convert = csv.ConvertOptions(
            column_types=kinds,
            null_values=list(format.null_values),
            strings_can_be_null=True,
            include_columns=self._included,
        )

    def table(self, text: bytes, *, has_long_rows: bool) -> pa.Table:
        """The rows as a table. Raises `pa.ArrowException` where a cell is none of its column's type."""
        return csv.read_csv(
            pa.BufferReader(text),
            read_options=csv.ReadOptions(use_threads=False, column_names=self.names, block_size=BLOCK_BYTES),
            parse_options=self._parse(has_long_rows=has_long_rows),
            convert_options=self._convert,
        )

    def _parse(self, *, has_long_rows: bool) -> csv.ParseOptions:
        return csv.ParseOptions(
            delimiter=self._format.delimiter,
            quote_char=self._format.quote or False,
            newlines_in_values=has_long_rows,
        )


class CsvSource:
    """See `source.Source`."""

    def __init__(self, reading: Reading) -> None:
        self._reader = CsvReader(reading.format, reading.columns)
        dialect = Dialect(reading.format.delimiter, reading.format.quote)
        self._pieces = TextPieces(reading, dialect, has_header=reading.format.has_header)
        self.schema = self._reader.schema
        self.rows: int | None = None

    def pieces(self) -> Iterator[Piece]:
        """See `Source.pieces`."""
        return iter(self._pieces)

    def read(self, piece: Piece) -> Chunk:
        """See `Source.read`."""
        table = self._reader.table(piece.data, has_long_rows=piece.has_long_rows)
        bad: Sequence[BadRow] = ()
        row_numbers: np.ndarray | None = None
        return Chunk(piece.ordinal, piece.first_row, piece.rows, table, row_numbers, bad, piece.next)
