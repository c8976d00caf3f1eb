"""The door to pyarrow, whose import takes as long as a quarter of a replica's start: it is opened by the first stream.

Who goes through it should not be on the event loop.
"""

from collections.abc import Mapping, Sequence

from serving.answer_table import NamedColumn
from serving.typed import TypedTable
from serving.validate import Validator


def read_stream(validator: Validator, body: bytes) -> TypedTable:
    """The table that an Arrow IPC stream is. Raises `Problem` 400 for what is none, 413, 422."""
    from serving.arrow.reading import read

    return read(validator, body)


def write_stream(columns: Sequence[NamedColumn], about: Mapping[str, str]) -> bytes:
    """Named columns as an Arrow IPC stream; `about` goes into the metadata of its schema."""
    from serving.arrow.writing import write

    return write(columns, about)
