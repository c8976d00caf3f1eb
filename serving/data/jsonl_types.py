"""The columns of JSON lines, found while they are read: every member of every object, typed by all of its values."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import pyarrow as pa

from serving.data.bad_cells import Fault
from serving.data.dialect import MOST_COLUMNS
from serving.data.formats import Column, DatasetInvalid
from serving.data.jsonl_source import LINES, REFUSED, fault_of
from serving.data.source import Piece
from serving.data.types import JSON, is_known

MOST_INVALID: Final = 0.001  # of the values of a column
_WORDS: Final[Mapping[type, str]] = {int: "int64", float: "float64", bool: "bool", str: "string", dict: JSON}
_KINDS: Final[Mapping[str, tuple[pa.DataType, tuple[type, ...]]]] = {
    "int64": (pa.int64(), (int,)),
    "float64": (pa.float64(), (int, float)),
    "bool": (pa.bool_(), (bool,)),
    "string": (pa.string(), (str,)),
}
HARMLESS_CELLS: Final = 4_000_000
MOST_EMPTY: Final = 4  # cells for each byte of text
_LARGEST: Final = 2**63

Row = Mapping[str, object]


class JsonLinesTypes:
    """How often each column had values of which type so far."""

    def __init__(self) -> None:
        self.kinds: dict[str, Counter[str]] = {}
        self.rows = 0
        self._decoder = msgspec.json.Decoder()
        self._row = msgspec.json.Decoder(dict[str, Any])

    def read(self, piece: Piece) -> tuple[list[Row], Mapping[int, Fault]]:
        """The objects of a piece, and what is wrong with lines that are none."""
        found, faults = self._rows(piece)
        self.rows += piece.rows
        return found, faults

    def check(self, columns: int, rows: int, piece: Piece) -> None:
        """Raises `DatasetInvalid` where columns are too many, or would be empty in nearly all of so many rows."""
        hint = "Put what is named by values into one object or list."
        if columns > MOST_COLUMNS:
            message = f"the objects from line {piece.line} on have more than {MOST_COLUMNS} different names"
            raise DatasetInvalid(message, hint, line=piece.line)
        if columns * rows > max(HARMLESS_CELLS, MOST_EMPTY * len(piece.text)):
            message = f"the objects from line {piece.line} on have {columns} different names, but few of them each"
            raise DatasetInvalid(message, hint, line=piece.line)

    def column(self, name: str, rows: Sequence[Row]) -> tuple[list[object], str]:
        """A column's values, and of which type they are now."""
        values = [row.get(name) for row in rows]
        kinds = self.kinds.setdefault(name, Counter())
        counts = Counter(map(type, values))
        for kind, count in counts.items():
            if kind is list:
                kinds[_list_type(values)] += count
            elif kind is int and not all(-_LARGEST <= each < _LARGEST for each in values if type(each) is int):
                kinds[JSON] += count
            elif kind is not type(None):
                kinds[_WORDS[kind]] += count
        return values, self.word(name)

    def word(self, name: str) -> str:
        """A column's type: of nearly all of its values, or of all."""
        kinds = self.kinds[name]
        total = sum(kinds.values())
        if not total:
            return "null"
        if total - kinds["int64"] - kinds["float64"] <= MOST_INVALID * total:
            return "float64" if kinds["float64"] else "int64"
        best, count = kinds.most_common(1)[0]
        return best if total - count <= MOST_INVALID * total else JSON

    def invalid(self, name: str) -> int:
        """How many values are of another type than the column."""
        kinds, word = self.kinds[name], self.word(name)
        if word in (JSON, "null"):
            return 0
        return sum(kinds.values()) - kinds[word] - (kinds["int64"] if word == "float64" else 0)

    def columns(self) -> tuple[Column, ...]:
        """All columns, in the order in which they came."""
        return tuple(_column(name, self.word(name)) for name in self.kinds)

    def _rows(self, piece: Piece) -> tuple[list[Row], Mapping[int, Fault]]:
        try:
            found = self._decoder.decode_lines(bytes(piece.text))
            if len(found) == piece.rows and all(type(row) is dict for row in found):
                return found, {}
        except REFUSED:
            pass
        text = bytes(piece.text)
        rows: list[Row] = []
        cut = LINES.rows(text)
        faults: dict[int, Fault] = {}
        for place, (start, end) in enumerate(zip(cut.starts.tolist(), cut.ends.tolist(), strict=True)):
            try:
                rows.append(self._row.decode(text[start:end]))
            except REFUSED as error:
                faults[place] = fault_of(error)
        return rows, faults


def array_of(values: Sequence[object], word: str) -> pa.ChunkedArray:
    """The values of a type as a column; those of another are null."""
    if word in _KINDS:
        kind, types = _KINDS[word]
        if word == "float64":  # of a whole number beyond 2^53 pyarrow makes none, our reader does
            values = [float(value) if type(value) is int else value for value in values]
        return pa.chunked_array([pa.array([value if type(value) in types else None for value in values], kind)])
    if word == "null":
        return pa.chunked_array([pa.nulls(len(values))])
    texts = [None if value is None else msgspec.json.encode(value).decode() for value in values]
    return pa.chunked_array([pa.array(texts, pa.string())])


def _list_type(values: Sequence[object]) -> str:
    """Arrow's name of the lists' type, if that is one that is read."""
    try:
        kind = pa.array([each for each in values if type(each) is list]).type
    except (pa.ArrowException, OverflowError, ValueError):
        return JSON
    return str(kind) if is_known(str(kind)) else JSON


def _column(name: str, word: str) -> Column:
    arrow = {"int64": "int64", "float64": "double", "bool": "bool", "null": "null"}.get(word)
    if word in (JSON, "string") or arrow is not None:
        return Column(name, word, arrow or "string")
    return Column(name, "list", word)
