"""Tables cut into pieces of exactly so many rows: what Parquet and Arrow have in common."""

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa

from serving.data.formats import DatasetInvalid, Position, unique_names
from serving.data.source import Chunk, Piece
from serving.data.streams import damage_told


def cut_tables(tables: Iterable[pa.Table], position: Position, chunk_rows: int) -> Iterator[Piece]:
    """Pieces of one file, of which these tables follow a position; the last piece may have less rows."""
    parts: list[pa.Table] = []
    rows = 0
    for table in tables:
        left = table
        while left.num_rows:
            taken = left.slice(0, chunk_rows - rows)
            left = left.slice(taken.num_rows)
            parts.append(taken)
            rows += taken.num_rows
            if rows == chunk_rows:
                yield (piece := _piece(parts, rows, position))
                position, parts, rows = piece.next, [], 0
    if rows:
        yield _piece(parts, rows, position)


def read_table(piece: Piece, schema: pa.Schema) -> Chunk:
    """The chunk of a piece that is a table already, proven to keep within its own buffers."""
    table = piece.table
    assert table is not None
    with damage_told("the file"):
        table.validate(full=True)
        if table.schema != schema:
            table = table.rename_columns(schema.names).cast(schema)
        table = table.combine_chunks()
    return Chunk(piece.ordinal, piece.first_row, piece.rows, table, None, (), piece.next)


def renamed(schema: pa.Schema) -> pa.Schema:
    """The schema with a name of its own for each column."""
    names = unique_names(schema.names)
    return pa.schema([field.with_name(name) for field, name in zip(schema, names, strict=True)])


def selected(schema: pa.Schema, columns: Sequence[str] | None) -> pa.Schema:
    """Only these columns, in this order. Raises `DatasetInvalid` for one that is not there."""
    if columns is None:
        return schema
    for name in columns:
        if name not in schema.names:
            raise DatasetInvalid(f"there is no column {name!r}", f"There are: {', '.join(schema.names[:20])}.")
    return pa.schema([schema.field(name) for name in columns])


def _piece(parts: Sequence[pa.Table], rows: int, position: Position) -> Piece:
    following = Position(position.chunk + 1, position.row + rows, position.file, position.offset + rows)
    return Piece(position.chunk, position.row, rows, 0, following, table=pa.concat_tables(parts))
