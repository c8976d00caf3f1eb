"""The lines of rows that were read long ago: looked up for those that the model refuses, which are few."""

from collections.abc import Callable, Sequence

import numpy as np

from serving.data.cutting import Dialect
from serving.data.formats import Format
from serving.data.row_bits import CR, LF
from serving.data.source import Piece


def lines_of(format_: Format | None) -> Callable[[Piece, Sequence[int]], Sequence[int | None]]:
    """Tells the 1-based lines of rows of a piece by their numbers among all; Parquet and Arrow have none."""
    if format_ is None or format_.format not in ("csv", "jsonl"):
        return lambda piece, rows: [None] * len(rows)
    dialect = Dialect(format_.delimiter, format_.quote if format_.format == "csv" else None)

    def lines(piece: Piece, rows: Sequence[int]) -> Sequence[int | None]:
        text = bytes(piece.text)
        starts = dialect.rows(text).starts[np.asarray(rows, np.int64) - piece.first_row]
        data = np.frombuffer(text, np.uint8)
        feeds = data == LF
        # A return ends a line where no feed follows it.
        ends = np.flatnonzero(feeds | ((data == CR) & ~np.append(feeds[1:], False)))
        found: list[int | None] = (piece.line + np.searchsorted(ends, starts)).tolist()
        return found

    return lines
