"""Streams of plain columns, written into the messages that pyarrow once made of columns named and typed alike.

Nothing but the numbers of rows and bytes differs between them, and those have their places. What pyarrow would write is
the same to the last byte; to ask it again would cost three times as long, and more behind a model that has just filled
the caches.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from serving.answer_table import NamedColumn
from serving.arrow.envelope import message_at
from serving.layouts import END

_TEXT: Final = "text"
_MOST_COLUMNS, _LONGEST_NAMES = 1000, 16 * 1024  # of a template, which is kept: some 150 KB
_LARGEST_TEXTS: Final = 2**31 - 1  # what an offset of 32 bits can tell
_PADDING: Final = tuple(bytes(size) for size in range(8))

Kind = tuple[str, str]  # a column's name, and its dtype or that it has texts


def write_plain(columns: Sequence[NamedColumn], about: Mapping[str, str]) -> bytes | None:
    """The stream of columns that each have one number, or one text, per row; `None` for any other."""
    kinds: list[Kind] = []
    buffers: list[bytes] = []
    rows = len(columns[0].values) if columns else 0
    for column in columns:
        values = column.values
        if isinstance(values, list) or values.ndim != 1 or len(values) != rows or not rows:
            return None
        if values.dtype.kind in "iuf":
            kinds.append((column.name, values.dtype.str))
            buffers += (b"", values.tobytes())
        elif values.dtype == object and (texts := _texts(values)):
            kinds.append((column.name, _TEXT))
            buffers += (b"", *texts)
        else:
            return None
    if not kinds or len(kinds) > _MOST_COLUMNS or sum(len(name) for name, _ in kinds) > _LONGEST_NAMES:
        return None
    return _template(tuple(kinds), tuple(about.items())).filled(rows, buffers)


def _texts(values: NDArray[np.generic]) -> tuple[bytes, bytes] | None:
    """Offsets and bytes of texts; `None` where there is anything else."""
    listed: list[str] = values.tolist()
    try:
        joined = "".join(listed)
        data = joined.encode()
        lengths = map(len, listed) if len(data) == len(joined) else (len(text.encode()) for text in listed)
    except (TypeError, UnicodeEncodeError):
        return None
    if len(data) > _LARGEST_TEXTS:
        return None
    offsets = np.zeros(len(listed) + 1, np.int32)
    np.fromiter(lengths, np.int32, len(listed)).cumsum(dtype=np.int32, out=offsets[1:])
    return offsets.tobytes(), data


# Compared by identity: there is one of each kind.
@dataclass(frozen=True, slots=True, eq=False)
class _Template:
    """The messages of a stream, and where in that of the batch its numbers are."""

    schema: bytes
    batch: bytes
    body_size_at: int
    rows_at: int
    nodes_at: int
    buffers_at: int
    columns: int

    def filled(self, rows: int, buffers: Sequence[bytes]) -> bytes:
        """The stream of so many rows, whose columns are these buffers."""
        pieces = [_begin(self, rows, tuple(map(len, buffers)))]
        for buffer in buffers:
            pieces += (buffer, _PADDING[-len(buffer) % 8])
        pieces.append(END)
        return b"".join(pieces)

    def begin(self, rows: int, sizes: Sequence[int]) -> bytes:
        """What stands before the buffers of these sizes."""
        batch, at = bytearray(self.batch), 0
        places: list[int] = []
        for size in sizes:
            places += (at, size)
            at += size + -size % 8
        struct.pack_into("<q", batch, self.body_size_at, at)
        struct.pack_into("<q", batch, self.rows_at, rows)
        struct.pack_into(f"<{2 * self.columns}q", batch, self.nodes_at, *(rows, 0) * self.columns)
        struct.pack_into(f"<{len(places)}q", batch, self.buffers_at, *places)
        return self.schema + bytes(batch)


@lru_cache(maxsize=64)
def _begin(template: _Template, rows: int, sizes: tuple[int, ...]) -> bytes:
    return template.begin(rows, sizes)


@lru_cache(maxsize=16)
def _template(kinds: tuple[Kind, ...], about: tuple[tuple[str, str], ...]) -> _Template:
    """Of one row of ones: a nought would be left out of a message, and have no place there."""
    arrays = [pa.array(["1"] if kind == _TEXT else np.ones(1, kind)) for _, kind in kinds]
    metadata = {f"portside.{name}": value for name, value in about}
    batch = pa.RecordBatch.from_arrays(arrays, [name for name, _ in kinds], metadata=metadata)
    serialized = batch.serialize().to_pybytes()
    message = message_at(memoryview(serialized), 0)
    header = None if message is None else message.table.table(2)
    assert message is not None
    assert header is not None
    begins, table = message.body_at - len(message.table.data), message.table
    return _Template(
        schema=batch.schema.serialize().to_pybytes(),
        batch=serialized[: message.body_at],
        body_size_at=begins + table.field(3),
        rows_at=begins + header.field(0),
        nodes_at=begins + header.vector(1),
        buffers_at=begins + header.vector(2),
        columns=len(kinds),
    )
