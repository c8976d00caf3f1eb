"""Parquet files as chunks: decoded while they are cut, since a row group can only be read from its beginning."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from serving.data.formats import DatasetInvalid, Position
from serving.data.source import Chunk, Piece, Reading
from serving.data.streams import MIB, damage_told
from serving.data.table_pieces import cut_tables, read_table, renamed, selected


@dataclass(frozen=True, slots=True)
class _Sizes:
    """What is remembered of a file's footer."""

    rows: int
    unpacked_bytes: int

    @staticmethod
    def of(footer: parquet.FileMetaData) -> "_Sizes":
        groups = (footer.row_group(number) for number in range(footer.num_row_groups))
        return _Sizes(footer.num_rows, sum(int(group.total_byte_size) for group in groups))


class ParquetSource:
    """See `source.Source`."""

    read_bytes = 0  # a footer says where each group of rows begins

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self.footer = footer_of(reading.files[0])  # of the first file; those of all are not kept
        self._sizes = [_Sizes.of(footer_of(path)) for path in reading.files]
        self.rows: int = sum(file.rows for file in self._sizes)
        # How many bytes a row has, as the footers tell.
        self.row_bytes = sum(file.unpacked_bytes for file in self._sizes) // max(1, self.rows)
        with damage_told("the Parquet schema"):
            whole = renamed(self.footer.schema.to_arrow_schema())
        self.schema: pa.Schema = selected(whole, reading.columns)
        self._places = [whole.names.index(name) for name in self.schema.names]
        self._width = len(whole)

    def pieces(self) -> Iterator[Piece]:
        """See `Source.pieces`."""
        position = self._reading.start
        for number in range(position.file, len(self._reading.files)):
            if number != position.file:
                position = Position(position.chunk, position.row, number)
            with closing(_opened(self._reading.files[number])) as file:
                for piece in cut_tables(self._batches(file, position), position, self._reading.chunk_rows):
                    position = piece.next
                    yield piece
            if position.offset != self._sizes[number].rows:
                message = f"the footer tells of {self._sizes[number].rows} rows, of which {position.offset} are there"
                raise DatasetInvalid(message, "Write the file again.")

    def read(self, piece: Piece) -> Chunk:
        """See `Source.read`."""
        return read_table(piece, self.schema)

    def _batches(self, file: parquet.ParquetFile, position: Position) -> Iterator[pa.Table]:
        """What follows a row of the file: whole row groups are passed over, rows within one are read and dropped."""
        groups, skipped = _groups_from(file.metadata, position.offset)
        if not groups:
            return
        with damage_told("the Parquet schema"):
            names = list(file.schema_arrow.names)
        if len(names) != self._width:
            message = f"a file has {len(names)} columns, the first one {self._width}"
            raise DatasetInvalid(message, "All files of a dataset need the same columns.")
        wanted = {names[place] for place in self._places}
        in_order = [name for name in dict.fromkeys(names) if name in wanted]
        with damage_told("the Parquet file"):
            batches = file.iter_batches(self._reading.chunk_rows, groups, in_order, use_threads=False)
        while True:
            with damage_told("the Parquet file"):
                batch = next(batches, None)
            if batch is None:
                return
            if skipped >= batch.num_rows:
                skipped -= batch.num_rows
                continue
            with damage_told("the Parquet file"):
                table = self._picked(batch.slice(skipped), names, wanted)
            yield table
            skipped = 0

    def _picked(self, batch: pa.RecordBatch, names: Sequence[str], wanted: set[str]) -> pa.Table:
        """The columns in the order of the schema; pyarrow reads them by name and in the order of the file."""
        found = [place for place, name in enumerate(names) if name in wanted]
        if len(found) == batch.num_columns:
            arrays = [batch.column(found.index(place)) for place in self._places]
        else:  # the name of one is the path of another's part
            arrays = [batch.column(batch.schema.names.index(names[place])) for place in self._places]
        return pa.Table.from_arrays(arrays, names=self.schema.names)


def footer_of(path: Path) -> parquet.FileMetaData:
    """A file's footer, with claims that could be true. Raises `DatasetInvalid`."""
    with damage_told("the Parquet footer"), closing(_opened(path)) as file:
        return file.metadata


def _opened(path: Path) -> parquet.ParquetFile:
    with damage_told("the Parquet footer"):
        return parquet.ParquetFile(path, buffer_size=MIB, pre_buffer=False, memory_map=False)


def _groups_from(footer: parquet.FileMetaData, row: int) -> tuple[Sequence[int], int]:
    """The row groups that have this row and all following ones, and how many rows of the first of them come before."""
    first = 0
    while first < footer.num_row_groups and row >= footer.row_group(first).num_rows:
        row -= footer.row_group(first).num_rows
        first += 1
    return range(first, footer.num_row_groups), row
