"""Which rows of a text pyarrow's typed reader refuses, and why: what fails is found by columns, not by trying rows.

A pattern lets through all that the reader takes, so that no row is good in one chunk and bad in another. What patterns
let through and the reader refuses all the same, such as a number that is too large, is found by halving.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute

from serving.data.cutting import Places, Rows
from serving.data.types import word_of

Fault = tuple[str | None, str]  # the column, and what is wrong

_PATTERNS: Final = {
    "int64": r"^[ \t]*(-?[0-9]+|0[xX][0-9a-fA-F]+)[ \t]*$",
    "float64": r"(?i)^[ \t]*[-+]?(([0-9]+\.?[0-9]*|\.[0-9]+)(e[-+]?[0-9]+)?|inf(inity)?|nan(\(.*\))?)[ \t]*$",
    "bool": r"(?i)^[ \t]*(0|1|true|false)[ \t]*$",
    "date": r"^[ \t]*[0-9]{4}-[0-9]{2}-[0-9]{2}[ \t]*$",
    "timestamp": r"^[ \t]*[0-9]{4}-[0-9]{2}-[0-9]{2}.*$",
}
_WORDS: Final = {
    "int64": "a whole number",
    "float64": "a number",
    "bool": "true or false",
    "date": "a date as 2026-01-31",
    "timestamp": "a time as 2026-01-31T12:00:00",
    "string": "text in UTF-8",
}
_LONGEST_CELL: Final = 60
_IN_COLUMN: Final = re.compile(r"In CSV column #(\d+)")


class TooManyFaults(Exception):
    """More rows than are looked for one by one have something wrong in this column."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


@dataclass(slots=True)
class Sieve:
    """What is good of a text whose rows were cut; `read` is the typed reader, `names` those of all columns."""

    text: bytes
    rows: Rows
    read: Callable[[bytes], pa.Table]
    names: Sequence[str]
    most_halved: int = 2**31  # rows found by halving, which is slow
    halved: int = 0
    faults: dict[int, Fault] = field(default_factory=dict)
    tables: list[pa.Table] = field(default_factory=list)

    def sift(self, places: Places) -> None:
        """Read these rows; those that are refused are found by halving."""
        if not len(places):
            return
        try:
            table = self.read(self.joined(places))
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            if len(places) == 1:
                self._refuse(int(places[0]), error)
                return
        else:
            if len(table) == len(places):
                self.tables.append(table)
                return
            if len(places) == 1:
                self.faults[int(places[0])] = (None, "is not one row: check its quotes")
                return
        middle = len(places) // 2
        self.sift(places[:middle])
        self.sift(places[middle:])

    def _refuse(self, place: int, error: Exception) -> None:
        fault = told(error, self.names)
        self.faults[place] = fault
        self.halved += 1
        if fault[0] is not None and self.halved > self.most_halved:
            raise TooManyFaults(fault[0])

    def joined(self, places: Places) -> bytes:
        """The text of these rows, in whole runs."""
        breaks = np.flatnonzero(np.diff(places) != 1) + 1
        firsts = places[np.concatenate((np.zeros(1, np.int64), breaks))]
        lasts = places[np.concatenate((breaks - 1, np.array([len(places) - 1])))]
        starts, ends = self.rows.starts[firsts].tolist(), self.rows.ends[lasts].tolist()
        return b"".join([self.text[start:end] for start, end in zip(starts, ends, strict=True)])


def cell_faults(cells: pa.Table, schema: pa.Schema) -> dict[int, Fault]:
    """The rows of a table of texts (as binary) that a pattern says are none of their column's type."""
    faults: dict[int, Fault] = {}
    for field_ in schema:
        column = cells.column(field_.name)
        for place in _unfit(column, field_.type).tolist():
            if place not in faults:
                cell = column[place].as_py().decode("utf-8", "replace")
                shown = cell if len(cell) <= _LONGEST_CELL else f"{cell[: _LONGEST_CELL - 1]}…"
                faults[place] = (field_.name, f"{shown!r} is not {_WORDS[word_of(field_.type)]}")
    return faults


def unfit(column: pa.ChunkedArray, word: str) -> NDArray[np.int64]:
    """The places of the texts that are none of a type."""
    fits = compute.match_substring_regex(column, _PATTERNS[word])
    return np.flatnonzero(compute.fill_null(fits, True).to_numpy() == 0)


def told(error: Exception, names: Sequence[str]) -> Fault:
    """The column of which pyarrow speaks where it refuses a row, and what it says."""
    words = str(error).partition("\n")[0]
    found = _IN_COLUMN.match(words)
    column = names[int(found[1])] if found is not None and int(found[1]) < len(names) else None
    return column, words.rpartition("Row #1: ")[2][:200] or "cannot be read"


def _unfit(column: pa.ChunkedArray, kind: pa.DataType) -> NDArray[np.int64]:
    word = word_of(kind)
    if word != "string":
        return unfit(column, word)
    try:
        column.cast(pa.string())
    except pa.ArrowInvalid:
        return np.array([place for place, cell in enumerate(column.to_pylist()) if not _is_text(cell)], np.int64)
    return np.zeros(0, np.int64)


def _is_text(cell: bytes | None) -> bool:
    try:
        (cell or b"").decode()
    except UnicodeDecodeError:
        return False
    return True


def widths(numbers: Sequence[tuple[int, int, int]]) -> dict[int, Fault]:
    """Of rows by their 1-based number, with the cells that are expected and those that are there."""
    return {
        number - 1: (None, f"has {actual} cells where there are {expected} columns")
        for number, expected, actual in numbers
    }
