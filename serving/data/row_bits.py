"""Where rows end, as bits: 64 bytes of text to a word, so that quotes are followed by shifts instead of one by one.

The way of simdjson (Langdale and Lemire, "Parsing gigabytes of JSON per second", 2019), in numpy over slices that stay
in the cache. What is unusual is not followed here but told.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

LF: Final = 10
CR: Final = 13
_QUOTE: Final = 34
_TOP: Final = np.uint64(63)
_ONE: Final = np.uint64(1)

Bytes = NDArray[np.uint8]
Words = NDArray[np.uint64]


@dataclass(slots=True)
class Before:
    """What stands before a slice. A text begins as if a row had ended."""

    is_in_quotes: bool = False
    ends_row: bool = True
    closes: bool = False
    returns: bool = False
    is_beside: bool = True  # a delimiter, a line end or a quote: what a quote may open a cell after


@dataclass(frozen=True, slots=True)
class RowEnds:
    """The line feeds of a slice that end a row; `bits` is `None` where these are `feeds`."""

    count: int
    feeds: NDArray[np.bool_]
    bits: Words | None = None
    has_inner: bool = False  # line ends in quotes

    def place(self, number: int) -> int:
        """Where the row of this 0-based number ends; -1 is the last one."""
        if self.bits is None:
            return int(np.flatnonzero(self.feeds)[number])
        return int(np.flatnonzero(np.unpackbits(self.bits.view(np.uint8), bitorder="little"))[number])


class RowBits:
    """Slices of a text, one after the other."""

    def __init__(self, delimiter: int, quote: int | None) -> None:
        self._delimiter, self._quote = delimiter, quote
        self._before = Before()

    def ends(self, part: Bytes) -> RowEnds | None:
        """The row ends of the next slice; `None` for empty lines, a CR alone, or a quote inside of a cell."""
        feeds = part == LF
        count = int(np.count_nonzero(feeds))
        before = self._before
        is_calm = not (before.is_in_quotes or before.closes or before.returns)
        if is_calm and self._is_plain(part, count):
            if (feeds[1:] & feeds[:-1]).any() or (before.ends_row and bool(feeds[0])):
                return None
            ends_row = bool(feeds[-1])
            self._before = Before(ends_row=ends_row, is_beside=ends_row or int(part[-1]) == self._delimiter)
            return RowEnds(count, feeds)
        return self._by_bits(part, feeds)

    def _is_plain(self, part: Bytes, feeds: int) -> bool:
        """Whether nothing but line feeds can end a row or keep one from it. Of most tables one look tells that nothing
        else in them is as low in ASCII as a quote; others have spaces."""
        quote = self._quote
        if (quote is None or quote <= _QUOTE) and np.count_nonzero(part <= _QUOTE) == feeds:
            return True
        return not ((part == CR).any() or (quote is not None and (part == quote).any()))

    def _by_bits(self, part: Bytes, feeds: NDArray[np.bool_]) -> RowEnds | None:
        before = self._before
        lf = _packed(feeds)
        returns = part == CR
        cr = _packed(returns) if returns.any() else np.zeros_like(lf)
        if self._quote is None:
            quotes = inside = beside = np.zeros_like(lf)
        else:
            quoted = part == self._quote
            quotes = _packed(quoted)
            inside = _prefix_xor(quotes, is_on=before.is_in_quotes)
            beside = quotes | lf | cr | _packed(part == self._delimiter)
        opening, closing = quotes & inside, quotes & ~inside
        ends, outer_cr = lf & ~inside, cr & ~inside
        odd = (
            (opening & ~_shifted(beside, is_on=before.is_beside))
            | (_shifted(closing, is_on=before.closes) & ~beside)
            | (_shifted(outer_cr, is_on=before.returns) & ~lf)
            | (_shifted(ends, is_on=before.ends_row) & (lf | cr))
        )
        if odd.any():
            odd[-1] &= _below(len(part))  # behind the end there is nothing
            if odd.any():
                return None
        last = len(part) - 1
        self._before = Before(*(_bit(bits, last) for bits in (inside, ends, closing, outer_cr, beside)))
        has_inner = bool(((lf | cr) & inside).any())
        return RowEnds(int(np.bitwise_count(ends).sum()), feeds, ends, has_inner)


def _packed(mask: NDArray[np.bool_]) -> Words:
    bits = np.packbits(mask, bitorder="little")
    if len(bits) % 8:
        bits = np.concatenate((bits, np.zeros(-len(bits) % 8, np.uint8)))
    return bits.view("<u8")


def _prefix_xor(bits: Words, *, is_on: bool) -> Words:
    """Each bit with all below it: on from an opening quote up to its closing one."""
    found = bits.copy()
    for distance in (1, 2, 4, 8, 16, 32):
        found ^= found << np.uint64(distance)
    carries = np.bitwise_xor.accumulate(found >> _TOP)
    found[1:] ^= np.uint64(0) - carries[:-1]
    return ~found if is_on else found


def _shifted(bits: Words, *, is_on: bool) -> Words:
    """Each bit where the next byte stands; `is_on` comes in from before."""
    found = bits << _ONE
    found[1:] |= bits[:-1] >> _TOP
    found[0] |= np.uint64(is_on)
    return found


def _below(size: int) -> np.uint64:
    """The bits of the last word that stand for bytes."""
    used = size % 64
    return np.uint64(2**64 - 1) if not used else np.uint64((1 << used) - 1)


def _bit(bits: Words, place: int) -> bool:
    return bool((int(bits[place // 64]) >> place % 64) & 1)
