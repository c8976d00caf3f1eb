"""One pass over a data file: its columns' types and statistics, its rows, and what is wrong with it."""

from dataclasses import replace
from pathlib import Path
from typing import Final

from serving.data.csv_types import ColumnTypes
from serving.data.cutting import Dialect, line_ends
from serving.data.description import Description, Report
from serving.data.formats import Format, Position
from serving.data.jsonl_source import LINES
from serving.data.jsonl_types import JsonLinesTypes, Row, array_of
from serving.data.preview import Preview
from serving.data.recognise import Recognised, Said, recognise
from serving.data.source import Piece, Reading
from serving.data.streams import MIB
from serving.data.table_description import describe_table
from serving.data.text_pieces import TextPieces
from serving.data.types import JSON

PIECE_BYTES: Final = 4 * MIB
PROBED_ROWS: Final = 64
MOST_ROWS: Final = 2**17
# A column that turns out to be text after so much: the pass begins again, and knows it from the start.
BEGUN_AGAIN_BYTES: Final = 64 * MIB
SAMPLE_BYTES: Final = 16 * MIB  # that a quick description reads


class _BeginAgain(Exception):
    """A column's type came out while little was read."""


class Describer:
    """Describes one file; `is_quick` estimates from its beginning or its footer."""

    def __init__(self, path: Path, said: Said, name: str, *, preview_rows: int, is_quick: bool, report: Report) -> None:
        self._path, self._is_quick, self._report = path, is_quick, report
        self._preview_rows = preview_rows
        self._recognised: Recognised = recognise(path, said, name)
        self._size_bytes = path.stat().st_size

    def describe(self) -> bytes:
        """The JSON document of the contract. Raises `DatasetInvalid`."""
        format, found = self._recognised.format, self._empty()
        if format.format == "csv":
            format, found = self._csv(format)
        elif format.format == "jsonl":
            format = self._json_lines(format, found)
        else:
            format = describe_table(self._path, format, found, is_quick=self._is_quick, report=self._report)
        found.check()
        return found.as_json(format, self._size_bytes)

    def _empty(self) -> Description:
        return Description(Preview(self._preview_rows), list(self._recognised.warnings))

    def _csv(self, format: Format) -> tuple[Format, Description]:
        dialect = Dialect(format.delimiter, format.quote)
        pieces = self._pieces(format, dialect, has_header=format.has_header)
        types = ColumnTypes(format, self._recognised.names)
        first = next(iter(pieces), None)
        if first is not None:
            types.guess(bytes(first.text))
        while True:
            try:
                found = self._read_csv(pieces, types)
            except _BeginAgain:
                types.begin_again()
                continue
            found.invalid = dict(types.invalid)
            return types.format, found

    def _read_csv(self, pieces: TextPieces, types: ColumnTypes) -> Description:
        found = self._empty()
        for piece in pieces:
            table, faults = types.read(piece)
            for name in types.take_retyped():
                if found.column(name).count and piece.next.offset <= BEGUN_AGAIN_BYTES:
                    raise _BeginAgain
                found.column(name).forget()
            found.rows += piece.rows
            found.add(table)
            found.refuse(faults, LineOf(piece, types.dialect))
            if self._is_over(found, pieces, piece):
                break
        return found

    def _json_lines(self, format: Format, found: Description) -> Format:
        types = JsonLinesTypes()
        pieces = self._pieces(format, LINES, has_header=False)
        for piece in pieces:
            rows, faults = types.read(piece)
            _add_objects(found, types, rows, piece)
            found.rows += piece.rows
            found.refuse(faults, LineOf(piece, LINES))
            if self._is_over(found, pieces, piece):
                break
        columns = types.columns()
        found.invalid = {name: types.invalid(name) for name in types.kinds}
        found.warnings += [
            f"{column.name!r} has objects or values of several types: it is read as the text of their JSON"
            for column in columns
            if column.type == JSON
        ]
        return replace(format, columns=columns)

    def _pieces(self, format: Format, dialect: Dialect, *, has_header: bool) -> TextPieces:
        """Pieces of about `PIECE_BYTES`, by the first rows."""

        def of(rows: int) -> TextPieces:
            return TextPieces(Reading([self._path], format, rows, Position(), None), dialect, has_header=has_header)

        probe = next(iter(of(PROBED_ROWS)), None)
        width = 1 if probe is None else max(1, len(probe.text) // probe.rows)
        return of(max(PROBED_ROWS, min(MOST_ROWS, PIECE_BYTES // width)))

    def _is_over(self, found: Description, pieces: TextPieces, piece: Piece) -> bool:
        """Whether a quick description has seen enough; then the rest is estimated."""
        self._report(pieces.read_bytes, found.rows)
        if not self._is_quick or piece.next.offset < SAMPLE_BYTES or pieces.read_bytes >= self._size_bytes:
            return False
        found.rows = round(found.rows * self._size_bytes / max(1, pieces.read_bytes))
        found.is_estimated = True
        return True


class LineOf:
    """The line in which a row of a piece begins, by its place; nothing is looked up before it is asked for."""

    def __init__(self, piece: Piece, dialect: Dialect) -> None:
        self._piece, self._dialect = piece, dialect

    def __call__(self, place: int) -> int:
        text = bytes(self._piece.text)
        return self._piece.line + line_ends(text, int(self._dialect.rows(text).starts[place]))


def _add_objects(found: Description, types: JsonLinesTypes, rows: list[Row], piece: Piece) -> None:
    before = found.rows - found.bad_rows
    names = dict.fromkeys(types.kinds)
    names.update(dict.fromkeys(name for row in rows for name in row))
    types.check(len(names), len(rows), piece)
    for name in names:
        is_new = name not in types.kinds
        was = "null" if is_new else types.word(name)
        values, word = types.column(name, rows)
        statistics = found.column(name)
        if is_new:
            statistics.nulls = before
        if word != was and was != "null" and (was, word) != ("int64", "float64"):
            statistics.forget()
        statistics.add(array_of(values, word))
    found.preview.add_objects(rows, list(types.kinds))
