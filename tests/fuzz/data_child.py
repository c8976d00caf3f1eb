"""What a child of the platform does with data files, one after the other, so that one start serves many.

Prints before and after each file: who reads that knows which one ended the process.
"""

import io
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import msgspec

from serving.data import commands
from serving.data.formats import DatasetInvalid, Format, Position
from serving.data.open import open_source
from serving.data.options import data_parser

MEMORY_BYTES = 1536 * 2**20


class _Described(msgspec.Struct):
    format: Format


def treat(path: Path) -> dict[str, object]:
    """Describe a file, read it as a batch would, unpack it; what each said."""
    out = io.BytesIO()
    status = commands.describe(data_parser().parse_args(["describe", str(path)]), out)
    told: dict[str, object] = {"describe": status, **_refusal(out.getvalue(), status)}
    if status == 0:
        told["read"] = _read(path, msgspec.json.decode(out.getvalue(), type=_Described).format)
    folder = Path(tempfile.mkdtemp())
    try:
        out = io.BytesIO()
        arguments = ["unpack", str(path), str(folder), "--most-files", "1000", "--most-bytes", str(2**26)]
        told["unpack"] = commands.unpack(data_parser().parse_args(arguments), out)
        if told["unpack"]:
            _refusal(out.getvalue(), 65)
    finally:
        shutil.rmtree(folder)
    return told


def _refusal(printed: bytes, status: int) -> dict[str, object]:
    if status == 0:
        return {}
    document = json.loads(printed.splitlines()[-1])
    assert document["code"], document
    assert document["message"], document
    assert document["hint"], document
    return {"code": document["code"], "message": document["message"]}


def _read(path: Path, format: Format) -> str:
    """The chunks agree with themselves when the reading is resumed."""
    try:
        source = open_source([path], format, chunk_rows=1000)
        rows, second = 0, Position()
        for piece in source.pieces():
            chunk = source.read(piece)
            assert len(chunk.table) + len(chunk.bad) == chunk.rows_in
            assert chunk.first_row == rows
            rows += chunk.rows_in
            second = chunk.next if piece.ordinal == 0 else second
        if second.row:
            again = open_source([path], format, chunk_rows=1000, start=second)
            assert sum(piece.rows for piece in again.pieces()) == rows - second.row
    except (DatasetInvalid, MemoryError) as error:
        return str(error)[:200]
    return f"{rows} rows"


def main(longest_s: float, paths: list[str]) -> None:
    """Treat files, within limits; each for so long at most."""
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    for path in paths:
        print(json.dumps({"began": path}), flush=True)
        signal.setitimer(signal.ITIMER_REAL, longest_s)  # its signal ends us
        print(json.dumps({"ended": path, **treat(Path(path))}), flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2:])
