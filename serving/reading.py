"""A request that has been read and checked, before the engine is asked: what it asks, and what makes the response.

So the two halves of one answer need not be made in one thread, with a wait for the engine in between.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from serving.engines.base import Columns
from serving.messages import Request, Response
from serving.pace import INLINE_BODY_BYTES
from serving.score import Scorer
from serving.signature import Signature

# Of what is in line read, and of an answer that the loop may tell: 512 requests and their columns fit anywhere.
_MOST_BYTES: Final = 64 * 1024
_MOST_TOLD_BYTES: Final = 8 * 1024
_MOST_TEXTS: Final = 128
_OPTIONAL: Final = 4  # inputs that may be left out, of which a body of 32 KiB is read in some 50 ms


@dataclass(slots=True)  # not frozen: see `messages`
class Reading:
    """One call of the engine, and `tell`, which makes the response of its answer. It raises `Problem`."""

    scorer: Scorer
    columns: Columns
    tell: Callable[[Columns], Response]

    @property
    def records(self) -> int:
        """How many it asks about."""
        return self.scorer.count(self.columns)

    @property
    def is_small(self) -> bool:
        """Whether many of these may wait in memory."""
        return _bytes_of(self.columns) <= _MOST_BYTES

    def answer(self) -> Response:
        """Ask the engine and wait for its answer. Raises `Problem`."""
        return self.tell(self.scorer.run(self.columns))


Read = Callable[[Request], Reading | None]


def most_read_bytes(signature: Signature) -> int:
    """How large a body the loop may read: where inputs may be left out, the two bytes of `{}` ask about all of them."""
    optional = sum(field.nullable or not field.required for field in signature.inputs)
    return INLINE_BODY_BYTES // max(optional // _OPTIONAL, 1)


def is_soon_told(outputs: Columns) -> bool:
    """Whether the loop may make a response of these."""
    return _bytes_of(outputs) <= _MOST_TOLD_BYTES and all(map(_is_short, outputs.values()))


def _is_short(column: NDArray[np.generic]) -> bool:
    """Of objects an array tells no size: they are texts of any length."""
    if column.dtype.kind != "O":
        return True
    return column.size <= _MOST_TEXTS and sum(len(str(text)) for text in column.flat) <= _MOST_TOLD_BYTES


def _bytes_of(columns: Columns) -> int:
    return sum(column.nbytes for column in columns.values())
