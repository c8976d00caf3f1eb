"""Rows that are answered together: an association model looks at what else is in a row's basket, up to that row.

A basket's rows stand behind each other, but chunks are cut by number. So each chunk is read with those rows before it
that belong to its first basket. Whoever goes on behind some chunk reads the ones before it again, to find them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute, types

from serving.batch.mapping import Binding
from serving.batch.plan import BatchFailed
from serving.data.formats import Position
from serving.data.source import Chunk, Piece, Source
from serving.engines.base import GroupingModel, LoadedModel
from serving.problems import shorten

# Rows of one basket before a chunk: beyond that it is no basket, and each chunk would be slower than the one before.
MOST_BEFORE: Final = 131_072


@dataclass(frozen=True, slots=True)
class BasketPiece(Piece):
    """A piece that is read already, and the rows before it that are of the basket it begins with."""

    chunk: Chunk | None = None
    before: pa.Table | None = None


def basket_column(model: LoadedModel, binding: Binding) -> str | None:
    """The dataset's column that says to which basket a row belongs, where the model asks. Raises `BatchFailed`."""
    group = model.group if isinstance(model, GroupingModel) else None
    if group is None:
        return None
    found = next((each.column for each in binding.fed if each.field.name == group), None)
    if found is None:
        told = f"no column feeds {shorten(group)!r}, which says to which basket a row belongs"
        raise BatchFailed("mapping_invalid", told, "map a column to it; the rows of a basket stand behind each other")
    return found


def run_starts(groups: pa.Array) -> NDArray[np.int64]:
    """Where runs of the same value begin, the first one aside. A row without one, which is bad, interrupts none."""
    if len(groups) < 2:
        return np.zeros(0, np.int64)
    values = groups.dictionary_decode() if types.is_dictionary(groups.type) else groups
    values = compute.fill_null_forward(values)
    differ = compute.fill_null(compute.not_equal(values[:-1], values[1:]), False)
    return np.flatnonzero(differ.to_numpy(zero_copy_only=False)) + 1


class WholeBaskets:
    """A source whose pieces bring what of their first basket came before. It implements `Source`."""

    def __init__(self, source: Source, column: str, fed: Sequence[str], start: Position) -> None:
        """`source` begins with the first row; pieces before `start` are read and not given."""
        self._source, self._column, self._fed, self._start = source, column, list(dict.fromkeys(fed)), start
        self._parts = tuple(each.name for each in fields(Piece))

    @property
    def schema(self) -> pa.Schema:
        """See `Source.schema`."""
        return self._source.schema

    @property
    def rows(self) -> int | None:
        """See `Source.rows`."""
        return self._source.rows

    @property
    def read_bytes(self) -> int:
        """See `Source.read_bytes`."""
        return self._source.read_bytes

    def pieces(self) -> Iterator[Piece]:
        """See `Source.pieces`. Raises `BatchFailed` for a basket that is none."""
        last: pa.Table | None = None
        for piece in self._source.pieces():
            chunk = self._source.read(piece)
            if piece.ordinal >= self._start.chunk:
                given = {name: getattr(piece, name) for name in self._parts}
                yield BasketPiece(**given, chunk=chunk, before=self._same_basket(last, chunk.table))
            last = self._last_basket(last, chunk.table)

    def read(self, piece: Piece) -> Chunk:
        """See `Source.read`."""
        assert isinstance(piece, BasketPiece)
        assert piece.chunk is not None
        return piece.chunk

    def _same_basket(self, last: pa.Table | None, table: pa.Table) -> pa.Table | None:
        if last is None or not table.num_rows:
            return None
        pair = pa.concat_tables([last.slice(last.num_rows - 1), table.select(self._fed).slice(0, 1)])
        return None if len(run_starts(self._groups(pair))) else last

    def _last_basket(self, last: pa.Table | None, table: pa.Table) -> pa.Table | None:
        """The rows of the last basket so far, of what is fed."""
        if not table.num_rows:
            return last
        starts, fed = run_starts(self._groups(table)), table.select(self._fed)
        if len(starts):
            return fed.slice(int(starts[-1]))
        before = self._same_basket(last, table)
        found = fed if before is None else pa.concat_tables([before, fed]).combine_chunks()
        if found.num_rows > MOST_BEFORE:
            told = f"more than {MOST_BEFORE:,} rows behind each other have the same {shorten(self._column)!r}"
            raise BatchFailed("dataset_invalid", f"{told}, as if they were one basket", "is it the right column?")
        return found

    def _groups(self, table: pa.Table) -> pa.Array:
        column = table.column(self._column)
        return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
