"""The types of a CSV's columns, found while it is read: guessed from the first rows, widened by what does not fit.

A column of numbers stays one while at most one cell of a thousand is none: those are counted, and their rows are bad.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa
from pyarrow import compute, csv

from serving.data.bad_cells import Fault, TooManyFaults, unfit
from serving.data.csv_source import CsvReader, Width, is_utf8, sifted
from serving.data.cutting import Dialect
from serving.data.formats import NULL_VALUES, Column, Format
from serving.data.source import Piece
from serving.data.types import word_of

MOST_INVALID: Final = 0.001  # of the cells of a column
_GUESSED_BYTES: Final = 4 * 2**20
_WIDER: Final = {"int64": ("int64", "float64"), "date": ("date", "timestamp")}
_ARROW: Final = {
    "int64": "int64",
    "float64": "double",
    "bool": "bool",
    "date": "date32[day]",
    "timestamp": "timestamp[us]",
    "string": "string",
    "null": "null",
}
_LEADING_ZERO: Final = r"^[ \t]*-?0[0-9]"
_LONG_INTEGER: Final = r"^[ \t]*[-+]?[0-9]{16,}[ \t]*$"


class ColumnTypes:
    """What is known of the columns so far; `reader` reads by it."""

    def __init__(self, format: Format, names: Sequence[str]) -> None:
        columns = tuple(Column(name, "null", "null") for name in names)
        self.format = replace(format, columns=columns)
        self.reader = CsvReader(self.format)
        self.dialect = Dialect(format.delimiter, format.quote)
        self.invalid: Counter[str] = Counter()
        self.rows = 0
        self._retyped: set[str] = set()
        self._names = list(names)

    @property
    def words(self) -> Mapping[str, str]:
        """The type of each column, in our words."""
        return {column.name: column.type for column in self.format.columns}

    def guess(self, text: bytes) -> None:
        """Guess from the first rows."""
        text = text[: text.rfind(b"\n", 0, _GUESSED_BYTES) + 1] or text
        words = self._inferred(text, [""])
        if "string" in words.values():
            wider = self._inferred(text, list(NULL_VALUES))
            if any(word == "string" != wider[name] for name, word in words.items()):
                words = wider
            else:
                self.format = replace(self.format, null_values=("",))
        else:
            self.format = replace(self.format, null_values=("",))
        self._retype(words)
        self._forgive(text)
        self._keep_names(text)

    def begin_again(self) -> None:
        """Keep the types and forget what was counted."""
        self.rows = 0
        self.invalid.clear()

    def take_retyped(self) -> Sequence[str]:
        """Columns that have become text since this was asked last."""
        retyped = sorted(self._retyped)
        self._retyped.clear()
        return retyped

    def read(self, piece: Piece) -> tuple[pa.Table, Mapping[int, Fault]]:
        """The good rows of a piece, after whatever had to be widened, and what is wrong with the others."""
        table, faults = self._read(piece)
        while any(len(self._fresh(table, name)) for name in self._nulls()):
            self._retype({name: self._fitting(self._fresh(table, name)) for name in self._nulls()}, is_first=True)
            table, faults = self._read(piece)
        self.rows += piece.rows
        self.invalid.update(column for column, _ in faults.values() if column is not None)
        return table, faults

    def _read(self, piece: Piece) -> tuple[pa.Table, Mapping[int, Fault]]:
        try:
            table = self.reader.table(piece.text, has_long_rows=piece.has_long_rows)
        except pa.ArrowInvalid:
            table = None
        if table is not None and len(table) == piece.rows:
            return table, {}
        text = bytes(piece.text)
        self._widen(text, piece.rows)
        while True:
            try:
                table, faults = sifted(self.reader, self.dialect, text, max(16, int(MOST_INVALID * piece.rows)))
            except TooManyFaults as error:
                self._retype({error.column: "string"})
                continue
            counts = Counter(column for column, _ in faults.values() if column is not None)
            if not (spoilt := self._spoilt(counts, piece.rows)):
                return table, faults
            self._retype(dict.fromkeys(spoilt, "string"))

    def _widen(self, text: bytes, rows: int) -> None:
        """Widen the types of columns with cells that no pattern of theirs lets through."""
        odd: list[Width] = []
        try:
            cells = self.reader.texts(text, odd)
        except pa.ArrowInvalid:
            return
        found: dict[str, str] = {}
        for name, word in self.words.items():
            if word in ("string", "null"):
                continue
            column = cells.column(name)
            places = unfit(column, word)
            if not len(places):
                continue
            others = _without_null_words(column.take(places))
            is_new = self.format.null_values == ("",) and len(others) < len(places)
            if is_new and not self._is_spoilt(name, len(others), rows):
                self.format = replace(self.format, null_values=NULL_VALUES)
                self._retype({})
                self._widen(text, rows)
                return
            found[name] = self._wider(name, word, column, rows)
        self._retype(found)

    def _wider(self, name: str, word: str, column: pa.ChunkedArray, rows: int) -> str:
        counts = {each: len(unfit(column, each)) for each in _WIDER.get(word, (word,))}
        best = min(counts, key=lambda each: counts[each])
        if best == "float64" != word and compute.any(compute.match_substring_regex(column, _LONG_INTEGER)).as_py():
            return "string"  # numbers that name something lose digits as floats
        return "string" if self._is_spoilt(name, counts[best], rows) else best

    def _spoilt(self, counts: Mapping[str, int], rows: int) -> list[str]:
        words = self.words
        return [name for name, bad in counts.items() if words[name] != "string" and self._is_spoilt(name, bad, rows)]

    def _is_spoilt(self, name: str, bad: int, rows: int) -> bool:
        return self.invalid[name] + bad > MOST_INVALID * (self.rows + rows)

    def _retype(self, words: Mapping[str, str], *, is_first: bool = False) -> None:
        columns = []
        for column in self.format.columns:
            word = words.get(column.name, column.type)
            if word != column.type and not is_first and column.type != "null" and word == "string":
                self._retyped.add(column.name)
            if word == "string":
                self.invalid.pop(column.name, None)
            columns.append(column if word == column.type else Column(column.name, word, _ARROW[word]))
        self.format = replace(self.format, columns=tuple(columns))
        self.reader = CsvReader(self.format)

    def _inferred(self, text: bytes, null_values: list[str]) -> dict[str, str]:
        """pyarrow's own guess."""
        parse = csv.ParseOptions(
            delimiter=self.format.delimiter,
            quote_char=self.format.quote or False,
            newlines_in_values=True,
            invalid_row_handler=(lambda row: "skip") if is_utf8(text) else None,
        )
        try:
            table = csv.read_csv(
                pa.BufferReader(text),
                read_options=csv.ReadOptions(use_threads=False, column_names=self._names, block_size=max(len(text), 1)),
                parse_options=parse,
                convert_options=csv.ConvertOptions(null_values=null_values, strings_can_be_null=True),
            )
        except pa.ArrowInvalid:
            return dict.fromkeys(self._names, "string")
        return {field.name: _guessed(field.type) for field in table.schema}

    def _forgive(self, text: bytes) -> None:
        """pyarrow takes a column for text over one odd cell; what nearly all of its cells are it is all the same."""
        names = [name for name, word in self.words.items() if word == "string"]
        try:
            cells = self.reader.texts(text, []) if names else None
        except pa.ArrowInvalid:
            return
        found = {name: _nearly(cells.column(name)) for name in names} if cells is not None else {}
        if self.format.null_values == ("",) and any(each.has_null_words for each in found.values()):
            self.format = replace(self.format, null_values=NULL_VALUES)
        self._retype({name: each.word for name, each in found.items()})

    def _keep_names(self, text: bytes) -> None:
        """What is written with leading zeros names something, as postal codes do, and so do digits beyond a float's."""
        try:
            cells = self.reader.texts(text, [])
        except pa.ArrowInvalid:
            return
        patterns = {"int64": _LEADING_ZERO, "float64": _LONG_INTEGER}
        named = [
            name
            for name, word in self.words.items()
            if word in patterns
            and compute.any(compute.match_substring_regex(cells.column(name), patterns[word])).as_py()
        ]
        self._retype(dict.fromkeys(named, "string"), is_first=True)

    def _nulls(self) -> list[str]:
        return [column.name for column in self.format.columns if column.type == "null"]

    def _fresh(self, table: pa.Table, name: str) -> pa.ChunkedArray:
        return table.column(name).drop_null()

    def _fitting(self, cells: pa.ChunkedArray) -> str:
        """The first type that all of these texts have."""
        if not len(cells):
            return "null"
        words = ("int64", "float64", "bool", "date", "timestamp")
        return next((word for word in words if not len(unfit(cells, word))), "string")


@dataclass(frozen=True, slots=True)
class _Nearly:
    """What nearly all cells of a column are, and whether some of the others are words for nothing."""

    word: str
    has_null_words: bool = False


def _nearly(column: pa.ChunkedArray) -> _Nearly:
    cells = column.drop_null()
    if len(cells) * MOST_INVALID < 1:
        return _Nearly("string")
    told = _without_null_words(cells)
    # No timestamp: what has a time zone is text on purpose, and looks like one.
    for word in ("int64", "float64", "bool", "date"):
        if len(told) and len(unfit(told, word)) <= MOST_INVALID * len(told):
            return _Nearly(word, len(told) < len(cells))
    return _Nearly("string")


def _guessed(kind: pa.DataType) -> str:
    word = word_of(kind)
    if word == "timestamp" and kind.tz is not None:
        return "string"
    return word if word in _ARROW else "string"


def _without_null_words(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    return cells.filter(compute.invert(compute.is_in(cells, pa.array(NULL_VALUES, cells.type))))
