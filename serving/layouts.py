"""Where the columns of Arrow streams lie that were read before: one that begins alike is read without a look at it.

What stands before a batch's numbers says all about where each column is, so where those bytes are the same to the last
one, so is the rest. To ask pyarrow again would cost half a millisecond behind a model that has just filled the caches.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from serving.engines.base import Columns
from serving.typed import TypedColumn, TypedTable

END: Final = b"\xff\xff\xff\xff\x00\x00\x00\x00"  # a message of no bytes ends a stream
_MOST, _LARGEST_HEAD_BYTES = 64, 16 * 1024  # of what is kept for one model: 1 MiB at most
_FRAME = struct.Struct("<ii")  # stands before a message: a mark, and the size of what says what it is
_MARK: Final = -1


@dataclass(frozen=True, slots=True)
class _Place:
    at: int
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]

    def array(self, body: bytes) -> NDArray[np.generic]:
        """What stands there, over the same memory."""
        return np.ndarray(self.shape, self.dtype, body, self.at)


@dataclass(frozen=True, slots=True)
class _Layout:
    head: bytes
    names: list[str]
    places: Sequence[_Place]
    count: int
    end: int
    inputs: Sequence[tuple[str, _Place]]  # each of the model's, where any numbers in these places are right; or none

    def is_of(self, body: bytes) -> bool:
        """Whether a body that begins alike ends so, too."""
        return len(body) >= self.end and body[self.end :] in (b"", END)


class Layouts:
    """Those of one model's streams of one batch each. Thread-safe."""

    def __init__(self) -> None:
        self._known: dict[bytes, _Layout] = {}
        self._last: _Layout | None = None

    def table(self, body: bytes) -> TypedTable | None:
        """The table that a body is, over the same memory; `None` where none like it was there before."""
        layout = self._layout(body)
        if layout is None:
            return None
        return TypedTable(layout.names, [TypedColumn(place.array(body)) for place in layout.places], layout.count)

    def inputs(self, body: bytes) -> tuple[Columns, int] | None:
        """The checked inputs that a body is, over the same memory, and the number of records; `None` where none like it
        was there before, or where what it says must be looked at."""
        layout = self._layout(body)
        if layout is None or not layout.inputs:
            return None
        return {name: place.array(body) for name, place in layout.inputs}, layout.count

    def _layout(self, body: bytes) -> _Layout | None:
        """That of a body, which mostly is the last one's."""
        layout = self._last
        if layout is None or not body.startswith(layout.head):
            layout = self._known.get(_head(body))
        if layout is None or not layout.is_of(body):
            return None
        self._last = layout
        return layout

    def learn(self, body: bytes, table: TypedTable, end: int, unseen: Mapping[str, int] | None = None) -> None:
        """Remember where the columns of this body are, whose one batch ends there.

        `unseen` tells which of them is which input, where whatever they say is right.

        For columns only whose place and size nothing but the head decides: not for lists that are as long as they say.
        """
        head, begin = _head(body), _address(np.frombuffer(body, np.uint8))
        places: list[_Place] = []
        for column in table.given:
            array = column.array
            if array is None or column.missing is not None or not array.flags.c_contiguous or not array.flags.aligned:
                return
            at = _address(array) - begin
            if not len(head) <= at <= at + array.nbytes <= end:
                return  # unpacked, or of another dtype than in the stream
            places.append(_Place(at, array.dtype, array.shape))
        if not head or len(head) > _LARGEST_HEAD_BYTES:
            return
        if len(self._known) >= _MOST:
            self._known.clear()
            self._last = None
        inputs = [] if unseen is None else [(name, places[at]) for name, at in unseen.items()]
        self._known[head] = _Layout(head, table.columns, places, table.count, end, inputs)


def _head(body: bytes) -> bytes:
    """A stream up to the numbers of its first batch: what its columns are called, and where they are."""
    at = 0
    for _ in range(2):
        if len(body) < at + _FRAME.size:
            return b""
        mark, size = _FRAME.unpack_from(body, at)
        at += _FRAME.size + size
        if mark != _MARK or not 0 < size < len(body):
            return b""
    return body[:at]


def _address(array: NDArray[np.generic]) -> int:
    return int(array.__array_interface__["data"][0])
