"""JSON lines as chunks: each line an object whose members are the columns; others are left out, missing ones are null.

A column of the type `json`, whose values are objects or have nothing in common, is read as the text of each value.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa

from serving.data.bad_cells import Fault
from serving.data.csv_source import bad_rows
from serving.data.cutting import Dialect
from serving.data.formats import Format
from serving.data.source import Chunk, Piece, Reading
from serving.data.table_pieces import selected
from serving.data.text_pieces import TextPieces
from serving.data.types import JSON, text_type

LINES: Final = Dialect(",", None)
# What msgspec and pyarrow raise at a line that is none of the schema's.
REFUSED: Final = (
    msgspec.DecodeError,
    UnicodeDecodeError,
    RecursionError,
    OverflowError,
    pa.ArrowInvalid,
    pa.ArrowTypeError,
)
_PATH: Final = re.compile(r"(.*) - at `\$\.?(.*)`", re.DOTALL)
_NULL: Final = msgspec.Raw(b"null")


class JsonLinesReader:
    """Lines to a table, for columns that are known."""

    def __init__(self, format: Format, columns: Sequence[str] | None = None) -> None:
        whole = pa.schema([(column.name, text_type(column)) for column in format.columns])
        self.schema: pa.Schema = selected(whole, columns)
        self._raw = {column.name for column in format.columns if column.type == JSON}
        self._keys = [f"f{place}" for place in range(len(self.schema))]
        fields: list[tuple[str, Any, object]] = [
            (key, msgspec.Raw, _NULL) if field.name in self._raw else (key, _python_type(field.type), None)
            for key, field in zip(self._keys, self.schema, strict=True)
        ]
        names = dict(zip(self._keys, self.schema.names, strict=True))
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
            msgspec.defstruct("Row", fields, rename=names, gc=False)
        )

    def table(self, text: bytes | memoryview) -> pa.Table:
        """The lines as a table. Raises one of `REFUSED` where one is none of the schema's."""
        return self.columns(self._decoder.decode_lines(bytes(text)))

    def row(self, line: bytes) -> object:
        """One line. Raises one of `REFUSED`."""
        row = self._decoder.decode(line)
        self.columns([row])  # refuses a number that is too large
        return row

    def columns(self, rows: Sequence[object]) -> pa.Table:
        """Rows as a table."""
        arrays = []
        for key, field in zip(self._keys, self.schema, strict=True):
            values = [getattr(row, key) for row in rows]
            if field.name in self._raw:
                values = [None if value == _NULL else bytes(value).decode() for value in values]
            arrays.append(pa.array(values, field.type))
        return pa.Table.from_arrays(arrays, schema=self.schema)


class JsonLinesSource:
    """See `source.Source`."""

    def __init__(self, reading: Reading) -> None:
        self._reader = JsonLinesReader(reading.format, reading.columns)
        self._pieces = TextPieces(reading, LINES, has_header=False)
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
        return read_piece(self._reader, piece)


def read_piece(reader: JsonLinesReader, piece: Piece) -> Chunk:
    """The chunk of a piece of JSON lines."""
    try:
        table = reader.table(piece.text)
    except REFUSED:
        table = None
    if table is not None and len(table) == piece.rows:
        return Chunk(piece.ordinal, piece.first_row, piece.rows, table, None, (), piece.next)
    text = bytes(piece.text)
    cut = LINES.rows(text)
    good, faults, found = [], dict[int, Fault](), []
    for place, (start, end) in enumerate(zip(cut.starts.tolist(), cut.ends.tolist(), strict=True)):
        try:
            found.append(reader.row(text[start:end]))
        except REFUSED as error:
            faults[place] = fault_of(error)
        else:
            good.append(place)
    numbers = np.array(good, np.int64) + piece.first_row
    bad = bad_rows(text, cut, piece, faults)
    return Chunk(piece.ordinal, piece.first_row, piece.rows, reader.columns(found), numbers, bad, piece.next)


def fault_of(error: Exception) -> Fault:
    """The column and the reason in an error of msgspec's."""
    if isinstance(error, RecursionError):
        return None, "is nested too deeply"
    words = str(error).partition("\n")[0]
    found = _PATH.fullmatch(words)
    if found is None:
        return None, words[:200]
    return found[2][:200] or None, found[1][:200]


def _python_type(kind: pa.DataType) -> Any:
    """What msgspec reads for a type, or nothing."""
    if pa.types.is_list(kind):
        return list[_python_type(kind.value_type)] | None  # type: ignore[misc]
    if pa.types.is_integer(kind):
        return int | None
    if pa.types.is_floating(kind):
        return float | None
    return bool | None if pa.types.is_boolean(kind) else str | None
