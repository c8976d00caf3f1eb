"""The door to pyarrow, whose import takes as long as a quarter of a replica's start: it is opened by the first stream.

Who goes through it should not be on the event loop.
"""

import os
import resource
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from serving.answer_table import NamedColumn
from serving.typed import TypedTable
from serving.validate import Validator

ROOM_BYTES: Final = 48 * 2**20  # measured: 45 MB of data for the library and a first small stream
STATUS: Final = Path("/proc/self/status")


def read_stream(validator: Validator, body: bytes) -> TypedTable:
    """The table that an Arrow IPC stream is. Raises `Problem` 400 for what is none, 413, 422, and `MemoryError`."""
    _prepare()
    from serving.arrow.reading import read

    return read(validator, body)


def write_stream(columns: Sequence[NamedColumn], about: Mapping[str, str]) -> bytes:
    """Named columns as an Arrow IPC stream; `about` goes into the metadata of its schema. Raises
    `MemoryError`."""
    _prepare()
    from serving.arrow.writing import write

    return write(columns, about)


def _prepare() -> None:
    """Before pyarrow is imported: it ends the process where memory does not suffice, and must not reserve a gigabyte
    of it, as its own allocators do at their first use."""
    if "pyarrow" in sys.modules:
        return
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"
    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    if limit != resource.RLIM_INFINITY and limit - _data_bytes() < ROOM_BYTES:
        raise MemoryError


def _data_bytes() -> int:
    """How much of the limit this process has taken, as far as the system tells."""
    try:
        lines = STATUS.read_text("ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:")), 0)
