"""Where rows of text end, found over whole blocks at once: a row is cut where pyarrow's parser would end it.

An empty line is no row, as pyarrow has it. A quote opens a quoted cell only where a cell begins; what stands behind the
closing quote belongs to the cell. Line ends are LF, CRLF and a lone CR, mixed as they come.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from serving.data.row_bits import CR, LF, RowBits, RowEnds

Places = NDArray[np.int64]
SLICE_BYTES: Final = 2**18  # whose masks stay in the cache
_LINE: Final = re.compile(rb"[^\r\n]*+(?:\r\n|\n|\r)")


@dataclass(frozen=True, slots=True)
class Cut:
    """The rows that begin a block: how many, where the last one ends, the lines passed, and whether some row has more
    than one of them."""

    rows: int
    end: int
    lines: int
    has_long_rows: bool = False


@dataclass(frozen=True, slots=True)
class Rows:
    """Every row of a block: where each begins, and where it ends, behind its line end."""

    starts: Places
    ends: Places


class Dialect:
    """How rows of a text are told apart; `quote` is `None` for a text without quoting, as JSON lines are."""

    def __init__(self, delimiter: str, quote: str | None) -> None:
        self.delimiter = ord(delimiter)
        self.quote = None if quote is None else ord(quote)
        self._row = _LINE.match if quote is None else _row_pattern(delimiter.encode(), quote.encode())

    def cut(self, block: memoryview, most: int, *, is_last: bool) -> Cut:
        """Cut up to `most` rows off a block that begins with a row. What follows the last line end is a row only where
        the block is the last one; empty lines go with the row before them."""
        found = self._cut_usual(np.frombuffer(block, np.uint8), most)
        if found is None or (is_last and found.rows < most and found.end < len(block)):
            return self._cut_any(bytes(block), most, is_last=is_last)
        if found.has_long_rows:
            # The slice of the last row may have had them behind it; here are no empty lines.
            lines = line_ends(bytes(block[: found.end]), found.end)
            return Cut(found.rows, found.end, lines, lines > found.rows)
        return found

    def rows(self, block: bytes) -> Rows:
        """Every row of a text."""
        return _rows(block, self._ends(block), is_last=True)

    def _cut_usual(self, data: NDArray[np.uint8], most: int) -> Cut | None:
        """Rows of a block, slice by slice; `None` where something in it is unusual."""
        bits = RowBits(self.delimiter, self.quote)
        count = 0
        has_long_rows = False
        last: tuple[int, RowEnds] | None = None
        for at in range(0, len(data), SLICE_BYTES):
            found = bits.ends(data[at : at + SLICE_BYTES])
            if found is None:
                return None
            has_long_rows |= found.has_inner
            if count + found.count >= most:
                return Cut(most, at + found.place(most - count - 1) + 1, most, has_long_rows)
            if found.count:
                count, last = count + found.count, (at, found)
        end = 0 if last is None else last[0] + last[1].place(-1) + 1
        return Cut(count, end, count, has_long_rows)

    def _cut_any(self, block: bytes, most: int, *, is_last: bool) -> Cut:
        if not is_last and block.endswith(b"\r"):
            block = block[:-1]  # may be half of a CRLF
        ends = self._ends(block)
        rows = _rows(block, ends, is_last=is_last)
        count = min(most, len(rows.starts))
        if count < len(rows.starts):
            end = int(rows.starts[count])
        else:
            end = len(block) if is_last else int(ends[-1]) if len(ends) else 0
        lines = line_ends(block, end)
        return Cut(count, end, lines, lines > int(np.searchsorted(ends, end, "right")))

    def _ends(self, block: bytes) -> Places:
        """Behind every line end that is not in a quoted cell."""
        data = np.frombuffer(block, np.uint8)
        if CR in block and block.count(b"\r") != block.count(b"\r\n"):
            return self._ends_by_pattern(block)
        feeds = np.flatnonzero(data == LF)
        if self.quote is None or self.quote not in block:
            return feeds + 1
        quotes = np.flatnonzero(data == self.quote)
        if not self._is_quoted_well(data, quotes):
            return self._ends_by_pattern(block)
        outside: Places = feeds[np.searchsorted(quotes, feeds) % 2 == 0] + 1
        return outside

    def _is_quoted_well(self, data: NDArray[np.uint8], quotes: Places) -> bool:
        """Whether each quote that opens a cell by their parity stands where a cell begins, and each that closes one
        where it ends: then their parity is right. A doubled quote closes and opens."""
        beside = np.zeros(256, np.bool_)
        beside[[self.delimiter, LF, CR, self.quote or 0]] = True
        opening, closing = quotes[0::2], quotes[1::2]
        if not (beside[data[opening - 1]] | (opening == 0)).all():
            return False
        return bool(beside[data[np.minimum(closing + 1, len(data) - 1)]].all())

    def _ends_by_pattern(self, block: bytes) -> Places:
        """Likewise, cell by cell, for what nobody should write but somebody does."""
        ends, at = [], 0
        while (found := self._row(block, at)) is not None:
            at = found.end()
            ends.append(at)
        return np.array(ends, np.int64)


def line_ends(block: bytes, end: int) -> int:
    """How many lines end before this byte."""
    feeds = block.count(b"\n", 0, end)
    if CR not in block:
        return feeds
    return feeds + block.count(b"\r", 0, end) - block.count(b"\r\n", 0, end)


def _row_pattern(delimiter: bytes, quote: bytes) -> Callable[[bytes, int], re.Match[bytes] | None]:
    d, q = re.escape(delimiter), re.escape(quote)
    rest = rb"[^" + d + rb"\r\n]*+"
    cell = rb"(?:" + q + rb"(?:[^" + q + rb"]++|" + q + q + rb")*+" + q + rest + rb"|(?!" + q + rb")" + rest + rb")"
    return re.compile(cell + rb"(?:" + d + cell + rb")*+(?:\r\n|\n|\r)").match


def _rows(block: bytes, ends: Places, *, is_last: bool) -> Rows:
    if is_last and len(block) > (int(ends[-1]) if len(ends) else 0):
        ends = np.append(ends, len(block))
    if not len(ends):
        return Rows(ends, ends)
    starts = np.concatenate((np.zeros(1, np.int64), ends[:-1]))
    first = np.frombuffer(block, np.uint8)[starts]
    is_row = (first != LF) & (first != CR)
    return Rows(starts[is_row], ends[is_row])
