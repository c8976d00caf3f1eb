"""The rows of a dataset's files as chunks, in two steps: cutting, which is cheap and sequential, and reading."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from serving.data.formats import BadRow, Format, Position


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows that were cut off and not yet read: a text for CSV and JSON lines, else a table."""

    ordinal: int
    first_row: int
    rows: int
    line: int
    next: Position
    text: bytes | memoryview = b""
    table: pa.Table | None = None
    has_long_rows: bool = False  # some row of the text has a line end in it


@dataclass(frozen=True, slots=True)
class Chunk:
    """The good rows of a piece as one table, and what is wrong with the others.

    `row_numbers` are those of the table's rows among all input rows, `None` where none is missing.
    """

    ordinal: int
    first_row: int
    rows_in: int
    table: pa.Table
    row_numbers: NDArray[np.int64] | None
    bad: Sequence[BadRow]
    next: Position


class Source(Protocol):
    """Files that are read in order, as if they were one."""

    @property
    def schema(self) -> pa.Schema:
        """Of every chunk's table."""

    @property
    def rows(self) -> int | None:
        """How many rows there are, where the files tell."""

    @property
    def read_bytes(self) -> int:
        """How far the current file has been read, as it lies there, also on the way to where a resumed source begins; 0
        where nothing takes long there."""

    def pieces(self) -> Iterator[Piece]:
        """Cut the files into pieces of exactly `chunk_rows` rows; each file's last one may have less.

        Raises `DatasetInvalid`. For one thread; a resumed source gives the same pieces from there on.
        """

    def read(self, piece: Piece) -> Chunk:
        """Read a piece. Any thread may, several at once. Raises `DatasetInvalid` where more than rows are bad."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Files in order and how they are read, in chunks of how many rows, from where, and which columns (`None`: all)."""

    files: Sequence[Path]
    format: Format
    chunk_rows: int
    start: Position
    columns: Sequence[str] | None
