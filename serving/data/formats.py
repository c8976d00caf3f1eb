"""How a data file is to be read, in words that travel as JSON: found once, kept with a dataset, read by every run.

Nothing here needs pyarrow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

FileFormat = Literal["csv", "jsonl", "parquet", "arrow"]
Compression = Literal["gzip", "zstd"]

# A cell that says one of these, without quotes, says nothing.
NULL_VALUES: Final = ("", "#N/A", "N/A", "NA", "NULL", "NaN", "n/a", "nan", "null", "None")
LONGEST_TEXT: Final = 200  # characters of a bad row that are repeated


@dataclass(frozen=True, slots=True)
class Column:
    """A column's name and type in our words, and in Arrow's where these say more."""

    name: str
    type: str
    arrow_type: str = ""
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class Format:
    """What a file is. `delimiter` to `null_values` are CSV's; `encoding` also JSON lines'.

    `has_header` tells of the first file of several; a later one may repeat that line or leave it out.
    """

    format: FileFormat
    compression: Compression | None = None
    delimiter: str = ","
    quote: str | None = '"'
    encoding: str = "utf-8"
    has_header: bool = True
    columns: tuple[Column, ...] = ()
    null_values: tuple[str, ...] = NULL_VALUES


@dataclass(frozen=True, slots=True)
class Position:
    """Where a chunk begins: its number, its first row among all input rows, the number of the file, and in that file

    the byte after decompression and transcoding to UTF-8 (CSV, JSON lines) or the row (Parquet, Arrow), and the line.
    """

    chunk: int = 0
    row: int = 0
    file: int = 0
    offset: int = 0
    line: int = 1


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be read: its 0-based number among all input rows, its 1-based line where there are lines."""

    row: int
    line: int | None
    column: str | None
    reason: str
    text: str = ""


class DatasetInvalid(Exception):
    """A file that cannot be read as data, with the line and column where that shows."""

    def __init__(self, message: str, hint: str = "", *, line: int | None = None, column: str | None = None) -> None:
        super().__init__(message)
        self.message, self.hint, self.line, self.column = message, hint, line, column

    def as_json(self, code: str = "dataset_invalid") -> dict[str, object]:
        """The document that the commands print."""
        return {
            "code": code,
            "message": self.message,
            "hint": self.hint,
            "line": self.line,
            "column": self.column,
        }


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names for columns that have none or the same: `column_3`, `price_2`."""
    taken: set[str] = set()
    found: list[str] = []
    given = set(names)
    for place, name in enumerate(names, 1):
        chosen = name or f"column_{place}"
        number = 1
        while chosen in taken or (number > 1 and chosen in given):
            number += 1
            chosen = f"{name or f'column_{place}'}_{number}"
        taken.add(chosen)
        found.append(chosen)
    return tuple(found)
