"""Arrow IPC as chunks: a stream, or a file (Feather), which is a stream with a frame around it."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pyarrow as pa
from pyarrow import ipc

from serving.data.formats import DatasetInvalid, Position
from serving.data.source import Chunk, Piece, Reading
from serving.data.streams import Unpacked, damage_told
from serving.data.table_pieces import cut_tables, read_table, renamed, selected

MAGIC: Final = b"ARROW1\x00\x00"


class ArrowSource:
    """See `source.Source`."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self.rows: int | None = None
        self.read_bytes = self.read_rows = 0  # of the current file as it lies there
        with closing(ArrowFile(reading.files[0], reading.format.compression)) as first:
            whole = renamed(first.schema)
        self.schema: pa.Schema = selected(whole, reading.columns)
        self._whole = whole

    def pieces(self) -> Iterator[Piece]:
        """See `Source.pieces`."""
        position = self._reading.start
        for number in range(position.file, len(self._reading.files)):
            if number != position.file:
                position = Position(position.chunk, position.row, number)
            with closing(ArrowFile(self._reading.files[number], self._reading.format.compression)) as file:
                tables = self._tables(file, position.offset)
                for piece in cut_tables(tables, position, self._reading.chunk_rows):
                    position = piece.next
                    yield piece

    def read(self, piece: Piece) -> Chunk:
        """See `Source.read`."""
        return read_table(piece, self.schema)

    def _tables(self, file: "ArrowFile", skipped: int) -> Iterator[pa.Table]:
        if not file.schema.equals(self._whole) and len(file.schema) != len(self._whole):
            message = f"a file has {len(file.schema)} columns, the first one {len(self._whole)}"
            raise DatasetInvalid(message, "All files of a dataset need the same columns.")
        for batch in file.batches():
            self.read_bytes = file.read_bytes
            self.read_rows += batch.num_rows
            if skipped >= batch.num_rows:
                skipped -= batch.num_rows
                continue
            table = pa.Table.from_batches([batch]).rename_columns(self._whole.names).select(self.schema.names)
            yield table.slice(skipped)
            skipped = 0


class ArrowFile:
    """The record batches of a file or stream, one at a time."""

    def __init__(self, path: Path, compression: str | None) -> None:
        self._unpacked = Unpacked(path, compression)
        with damage_told("the Arrow stream"):
            head = bytes(self._unpacked.read(len(MAGIC)))
            stream = _Stream(self._unpacked, b"" if head == MAGIC else head)
            self._python_file = pa.PythonFile(stream, "r")
            options = ipc.IpcReadOptions(use_threads=False)
            self._reader = ipc.open_stream(self._python_file, options=options)
        self.schema: pa.Schema = self._reader.schema

    @property
    def read_bytes(self) -> int:
        """How far the file as it lies there has been read."""
        return self._unpacked.read_bytes

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Each batch, before it is proven to be whole. Raises `DatasetInvalid`."""
        while True:
            with damage_told("the Arrow stream"):
                try:
                    batch = self._reader.read_next_batch()
                except StopIteration:
                    return
            yield batch

    def close(self) -> None:
        """Let go of the file."""
        self._unpacked.close()


class _Stream:
    """What pyarrow reads from: bytes that were looked at already, then the rest."""

    closed = False

    def __init__(self, unpacked: Unpacked, head: bytes) -> None:
        self._unpacked, self._head = unpacked, head

    def read(self, size: int = -1) -> bytes:
        head, self._head = self._head[:size], self._head[size:]
        return head + bytes(self._unpacked.read(size - len(head))) if len(head) < size else head
