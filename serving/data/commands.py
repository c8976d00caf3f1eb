"""The commands of `python -m serving data`, once limits are set and heavy imports are allowed."""

import argparse
import errno
import os
import sys
import time
from typing import BinaryIO, Final

import msgspec

from serving.data import unpack as archives
from serving.data.describe import Describer
from serving.data.description import missing_columns
from serving.data.formats import Column, DatasetInvalid
from serving.data.options import QUICK
from serving.data.recognise import Said
from serving.data.unpack import Folder, Unpacking
from serving.engines.base import InvalidModel

INVALID_STATUS: Final = 65  # EX_DATAERR of sysexits.h
_REPORTED_S: Final = 0.2
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class _Told(msgspec.Struct):
    """Another description's columns."""

    columns: list[Column]


def describe(options: argparse.Namespace, out: BinaryIO) -> int:
    """Print the description of a file; for one that cannot be read `{"code","message","hint","line","column"}`."""
    try:
        said = msgspec.json.decode(options.format, type=Said)
        wanted = None if options.columns_from is None else msgspec.json.decode(options.columns_from, type=_Told)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        sys.stderr.write(f"--format and --columns-from are JSON objects: {error}\n")
        return 2
    report = Progress(options.report_fd)
    try:
        found = Describer(
            options.file,
            said,
            options.name,
            preview_rows=options.preview_rows,
            is_quick=options.stats == QUICK,
            report=report,
        ).describe()
        if wanted is not None:
            missing_columns(wanted.columns, msgspec.json.decode(found, type=_Told).columns)
    except DatasetInvalid as error:
        return refuse(error.as_json(), out)
    except MemoryError:
        return refuse(out_of_memory(), out)
    except FileNotFoundError as error:
        sys.stderr.write(f"{error.filename}: {error.strerror}\n")
        return 2
    out.write(found + b"\n")
    return 0


class Progress:
    """Tells how far the reading is, some times a second."""

    def __init__(self, fd: int | None) -> None:
        self._fd, self._last = fd, 0.0

    def __call__(self, read_bytes: int, rows: int) -> None:
        """So many bytes of the file and rows are read."""
        now = time.monotonic()
        if self._fd is None or now - self._last < _REPORTED_S:
            return
        self._last = now
        try:
            os.write(self._fd, b'{"bytes":%d,"rows":%d}\n' % (read_bytes, rows))
        except OSError:
            self._fd = None  # nobody listens any more


def refuse(document: object, out: BinaryIO) -> int:
    """Print why a file is refused."""
    out.write(msgspec.json.encode(document) + b"\n")
    return INVALID_STATUS


def out_of_memory() -> dict[str, object]:
    """What is told where the file needs more memory than there may be."""
    message = "the file needs more memory than it may use"
    hint = "Write it with smaller row groups or batches, or shorter rows."
    return {"code": "memory_limit_exceeded", "message": message, "hint": hint, "line": None, "column": None}


def unpack(options: argparse.Namespace, out: BinaryIO) -> int:
    """Unpack an archive into a folder, and print `{"path","size","sha256"}` a line; what is refused ends with why."""

    def tell(file: Unpacking) -> None:
        out.write(msgspec.json.encode(file) + b"\n")

    folder = Folder(options.folder, options.most_files, options.most_bytes, tell)
    try:
        archives.unpack(options.file, folder)
    except InvalidModel as error:
        return refuse({"code": error.code, "message": error.message, "hint": error.hint}, out)
    except MemoryError:
        return refuse(out_of_memory(), out)
    except (FileNotFoundError, FileExistsError) as error:
        sys.stderr.write(f"{error.filename}: {error.strerror}\n")
        return 2
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        message = f"there is no room to unpack the archive: {error.strerror}"
        hint = "Make room on the disk of the worker's data folder, and try again."
        return refuse({"code": "disk_full", "message": message, "hint": hint}, out)
    return 0
