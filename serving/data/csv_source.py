"""CSV files as chunks, by pyarrow's own reader: a piece goes through it whole, and again by columns where it fails."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from serving.data.bad_cells import Fault, Sieve, cell_faults, widths
from serving.data.cutting import Dialect, Rows, line_ends
from serving.data.formats import LONGEST_TEXT, BadRow, DatasetInvalid, Format
from serving.data.source import Chunk, Piece, Reading
from serving.data.table_pieces import selected
from serving.data.text_pieces import TextPieces
from serving.data.types import text_type

Width = tuple[int, int, int]


class CsvReader:
    """Rows of text to a table, for columns that are known."""

    def __init__(self, format: Format, columns: Sequence[str] | None = None) -> None:
        if not format.columns:
            raise DatasetInvalid("the format names no columns", "Describe the file first.")
        self.names = [column.name for column in format.columns]
        whole = pa.schema([(column.name, text_type(column)) for column in format.columns])
        self.schema: pa.Schema = selected(whole, columns)
        self._format = format
        self._null_values = list(format.null_values)
        self._typed = self._options({field.name: field.type for field in self.schema})
        self._untyped = self._options({name: pa.binary() for name in self.schema.names})

    def table(self, text: bytes | memoryview, *, has_long_rows: bool = True) -> pa.Table:
        """The rows as a table. Raises `pa.ArrowInvalid` where a cell is none of its column's type, or a row has others
        than the columns."""
        return self._read(text, self._typed, None, has_long_rows=has_long_rows)

    def texts(self, text: bytes, odd: list[Width]) -> pa.Table:
        """The rows with each cell as it stands there; those of another width are put into `odd` and left out.

        Raises `pa.ArrowInvalid` where one of these is not UTF-8: pyarrow cannot hand it to us.
        """
        return self._read(text, self._untyped, odd if is_utf8(text) else None, has_long_rows=True)

    def _options(self, kinds: Mapping[str, pa.DataType]) -> csv.ConvertOptions:
        return csv.ConvertOptions(
            column_types=kinds,
            null_values=self._null_values,
            strings_can_be_null=True,
            include_columns=self.schema.names,
        )

    def _read(
        self, text: bytes | memoryview, convert: csv.ConvertOptions, odd: list[Width] | None, *, has_long_rows: bool
    ) -> pa.Table:
        def skip(row: csv.InvalidRow) -> str:
            assert odd is not None
            odd.append((row.number, row.expected_columns, row.actual_columns))
            return "skip"

        # One block for all: a table's arrays are then whole, and the same wherever the reading began.
        block_bytes = max(1, len(text))
        return csv.read_csv(
            pa.BufferReader(pa.py_buffer(text)),
            read_options=csv.ReadOptions(use_threads=False, column_names=self.names, block_size=block_bytes),
            parse_options=csv.ParseOptions(
                delimiter=self._format.delimiter,
                quote_char=self._format.quote or False,
                newlines_in_values=has_long_rows,
                invalid_row_handler=None if odd is None else skip,
            ),
            convert_options=convert,
        )


class CsvSource:
    """See `source.Source`."""

    def __init__(self, reading: Reading) -> None:
        self._reader = CsvReader(reading.format, reading.columns)
        self._dialect = Dialect(reading.format.delimiter, reading.format.quote)
        self._pieces = TextPieces(reading, self._dialect, has_header=reading.format.has_header)
        self.schema = self._reader.schema
        self.rows: int | None = None

    @property
    def read_bytes(self) -> int:
        """See `Source.read_bytes`."""
        return self._pieces.read_bytes

    def pieces(self) -> Iterator[Piece]:
        """See `Source.pieces`."""
        return iter(self._pieces)

    def read(self, piece: Piece) -> Chunk:
        """See `Source.read`."""
        return read_piece(self._reader, self._dialect, piece)


def read_piece(reader: CsvReader, dialect: Dialect, piece: Piece) -> Chunk:
    """The chunk of a piece of CSV."""
    try:
        table = reader.table(piece.text, has_long_rows=piece.has_long_rows)
    except pa.ArrowInvalid:
        table = None
    if table is not None and len(table) == piece.rows:
        return Chunk(piece.ordinal, piece.first_row, piece.rows, table, None, (), piece.next)
    text = bytes(piece.text)
    table, faults = sifted(reader, dialect, text)
    if not faults:
        return Chunk(piece.ordinal, piece.first_row, piece.rows, table, None, (), piece.next)
    bad = bad_rows(text, dialect.rows(text), piece, faults)
    good = others(piece.rows, faults) + piece.first_row
    return Chunk(piece.ordinal, piece.first_row, piece.rows, table, good, bad, piece.next)


def bad_rows(text: bytes, rows: Rows, piece: Piece, faults: Mapping[int, Fault]) -> list[BadRow]:
    """What is told of rows that are at fault, with the line where each begins."""
    bad, line, at = [], piece.line, 0
    for place in sorted(faults):
        start, end = int(rows.starts[place]), int(rows.ends[place])
        line += line_ends(text[at:start], start - at)
        at = start
        column, reason = faults[place]
        shown = text[start : min(end, start + 4 * LONGEST_TEXT)].decode("utf-8", "replace").strip("\r\n")
        bad.append(BadRow(piece.first_row + place, line, column, reason, shown[:LONGEST_TEXT]))
    return bad


def sifted(
    reader: CsvReader, dialect: Dialect, text: bytes, most_halved: int = 2**31
) -> tuple[pa.Table, Mapping[int, Fault]]:
    """The good rows of a text that has bad ones. Raises `TooManyFaults` where so many are not enough."""
    rows = dialect.rows(text)
    sieve = Sieve(text, rows, reader.table, reader.names, most_halved)
    odd: list[Width] = []
    try:
        cells = reader.texts(text, odd)
    except pa.ArrowInvalid:
        cells = None
    if cells is not None and len(cells) + len(odd) == len(rows.starts):
        sieve.faults |= widths(odd)
        places = others(len(rows.starts), sieve.faults)
        for place, fault in cell_faults(cells, reader.schema).items():
            sieve.faults[int(places[place])] = fault
    sieve.sift(others(len(rows.starts), sieve.faults))
    tables = sieve.tables or [reader.schema.empty_table()]
    return pa.concat_tables(tables), sieve.faults


def is_utf8(text: bytes) -> bool:
    """Whether a text is."""
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def others(count: int, faults: Mapping[int, Fault]) -> NDArray[np.int64]:
    """The places of so many rows that are not at fault."""
    is_good = np.ones(count, np.bool_)
    is_good[list(faults)] = False
    return np.flatnonzero(is_good)
