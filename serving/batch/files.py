"""A folder of files as rows: one file is one row, its path and its bytes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa

from serving.batch.mapping import Binding, Fed
from serving.batch.plan import BatchFailed, Input, Plan
from serving.data.formats import BadRow, DatasetInvalid, Position
from serving.data.source import Chunk, Piece
from serving.features import vector_width
from serving.problems import shorten
from serving.sample import record_shape
from serving.signature import InputField, Signature

PATH, CONTENT = "path", "content"
SCHEMA: Final = pa.schema([(PATH, pa.string()), (CONTENT, pa.large_binary())])
MOST_ROWS: Final = 1024  # of a chunk, where the plan does not say
LARGEST_CHUNK_BYTES: Final = 16 * 2**20  # but for a single file
LARGEST_FILE_BYTES: Final = 64 * 2**20


class _Listed(msgspec.Struct):
    path: str
    size: int = 0


@dataclass(frozen=True, slots=True)
class FilesSource:
    """Implements `Source` for `kind: files`."""

    given: Input
    chunk_rows: int
    start: Position

    @property
    def schema(self) -> pa.Schema:
        """See `Source.schema`."""
        return SCHEMA

    @property
    def rows(self) -> int | None:
        """See `Source.rows`."""
        with self.given.list.open("rb") as lines:
            return sum(1 for line in lines if line.strip())

    @property
    def read_bytes(self) -> int:
        """See `Source.read_bytes`."""
        return 0

    def pieces(self) -> Iterator[Piece]:
        """The lines of the list: as many as a chunk has rows, or as have together the bytes that it may have."""
        position, listed, offset, size_bytes = self.start, list[_Listed](), self.start.offset, 0
        with self.given.list.open("rb") as lines:
            lines.seek(offset)
            for line in lines:
                each = _listed(line, position.line + len(listed))
                if listed and (len(listed) == self.chunk_rows or size_bytes + each.size > LARGEST_CHUNK_BYTES):
                    piece = _piece(position, listed, offset)
                    yield piece
                    position, listed, size_bytes = piece.next, [], 0
                listed.append(each)
                offset += len(line)
                size_bytes += each.size
        if listed:
            yield _piece(position, listed, offset)

    def read(self, piece: Piece) -> Chunk:
        """The files of a piece; one that cannot be read is a bad row."""
        paths, contents, rows, bad = list[str](), list[bytes](), list[int](), list[BadRow]()
        assert piece.table is not None
        for row, path in enumerate(piece.table.column(PATH).to_pylist(), piece.first_row):
            try:
                contents.append(_content(self.given.root, path))
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
                bad.append(BadRow(row, None, PATH, f"cannot be read: {reason}", shorten(path, 200)))
                continue
            paths.append(path)
            rows.append(row)
        table = pa.Table.from_arrays(
            [pa.array(paths, pa.string()), pa.array(contents, pa.large_binary())], [PATH, CONTENT]
        )
        numbers = np.array(rows, np.int64) if bad else None
        return Chunk(piece.ordinal, piece.first_row, piece.rows, table, numbers, bad, piece.next)


def bind_files(plan: Plan, signature: Signature) -> Binding:
    """The one input that takes a file's bytes. Raises `BatchFailed`."""
    chosen = list(plan.mapping or {})
    fields = [field for field in signature.inputs if not chosen or field.name in chosen]
    if len(fields) != 1 or any(field.required for field in signature.inputs if field is not fields[0]):
        takes = ", ".join(field.name for field in signature.inputs[:20])
        hint = f"the model takes: {takes}"
        raise BatchFailed("mapping_invalid", "a file is one value, and the model takes several", hint)
    if not _takes_bytes(fields[0], signature) and not _are_arrays(plan.input):
        shape = ", ".join("any" if size < 0 else str(size) for size in record_shape(fields[0], signature))
        named = f"the input {shorten(fields[0].name)!r} is {fields[0].datatype} of the shape [{shape}]"
        hint = (
            "raw images and documents need a model that reads them: one with a string input, or a vector of UINT8 of "
            "any length, and the decoding in its graph; else make .npy files of them (numpy.save)"
        )
        raise BatchFailed("mapping_invalid", f"{named}, and takes no file's bytes", hint)
    return Binding(signature, (Fed(CONTENT, fields[0].name, fields[0]),), (PATH,))


def _takes_bytes(field: InputField, signature: Signature) -> bool:
    if field.datatype == "BYTES":
        return record_shape(field, signature) in ((), (1,))
    return field.datatype == "UINT8" and vector_width(field, signature) is not None


def _are_arrays(given: Input) -> bool:
    """Whether the first file is an array of its own kind: the others are then looked at one by one."""
    with given.list.open("rb") as lines:
        first = next(iter(lines), b"")
    return bool(first.strip()) and _listed(first, 1).path.endswith(".npy")


def _listed(line: bytes, number: int) -> _Listed:
    try:
        return msgspec.json.decode(line, type=_Listed)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DatasetInvalid(f"the list of files has no file in line {number}: {error}", line=number) from error


def _piece(position: Position, listed: Sequence[_Listed], offset: int) -> Piece:
    count = len(listed)
    following = Position(position.chunk + 1, position.row + count, 0, offset, position.line + count)
    table = pa.Table.from_arrays([pa.array([each.path for each in listed], pa.string())], [PATH])
    return Piece(position.chunk, position.row, count, position.line, following, table=table)


def _content(root: Path, path: str) -> bytes:
    """A file's bytes. Raises `OSError`, and `ValueError` for one that is too large or outside the folder."""
    inner = PurePosixPath(path)
    if inner.is_absolute() or ".." in inner.parts:
        raise ValueError("it is outside the folder")
    with (root / inner).open("rb") as file:
        data = file.read(LARGEST_FILE_BYTES + 1)
    if len(data) > LARGEST_FILE_BYTES:
        raise ValueError(f"it has more than {LARGEST_FILE_BYTES // 2**20} MiB")
    return data
