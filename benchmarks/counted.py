"""`python -m benchmarks.counted FILE WORDS…`: the `portside` command, with a note of each query of the waiter hub.

The file gets eight bytes each: the instant as a float of the clock that all processes of the machine share.
"""

import os
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from cli.main import main

INSTANT = struct.Struct("d")
MARKS = ("json_each", "ANY (")  # how the hub's polls name their rows, on either database


def _note_into(file: Path) -> None:
    descriptor = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "FROM operations" in statement and any(mark in statement for mark in MARKS):
            os.write(descriptor, INSTANT.pack(time.monotonic()))

    event.listen(Engine, "before_cursor_execute", note)


def polls_in(file: Path) -> Sequence[float]:
    """The instants that were noted."""
    return [instant for (instant,) in INSTANT.iter_unpack(file.read_bytes())]


if __name__ == "__main__":
    _note_into(Path(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
