"""A chunk's rows through the model: block by block, by columns; a bad row is told and spoils none beside it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute, types

from serving.answer_table import NamedColumn
from serving.arrow.arrays import Dictionaries, column_of
from serving.batch.baskets import run_starts
from serving.batch.mapping import Binding
from serving.batch.outputs import OutputColumn
from serving.batch.plan import BatchFailed
from serving.datatypes import DTYPES
from serving.elements import Unfit, compile_element
from serving.npy import NPY_MAGIC
from serving.problems import MAX_FIELD_ERRORS, Problem
from serving.sample import record_shape
from serving.score import Scorer
from serving.signature import InputField
from serving.typed import TypedColumn
from serving.validate import Question

# Rows of one call of the engine: beyond some thousands a call gains nothing, and what it holds grows.
MOST_ROWS: Final = 8192
_CALL_BYTES: Final = 4 * 2**20
# Where a block has as many errors as are told at once, it is halved down to this before it is looked at again.
_SMALL: Final = 64
_NO_MEMORY: Final = "memory_limit_exceeded"
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Fault:
    """A row of a chunk that the model, or its signature, refuses; `at` is its place among the chunk's good rows."""

    at: int
    column: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Scored:
    """The answers as columns; `kept` has the places of the rows that have one, `None` where all have."""

    columns: list[pa.ChunkedArray]
    kept: Rows | None
    faults: list[Fault]


class Stopped(Exception):
    """The run is to end: what is being done is dropped."""


class ChunkScorer:
    """Scores tables. Thread-safe: it never changes."""

    def __init__(
        self,
        scorer: Scorer,
        binding: Binding,
        outputs: Sequence[OutputColumn],
        *,
        call_rows: int | None = None,
        basket: str | None = None,
    ) -> None:
        """`call_rows`: how many rows may go through the model together (default: by their width). Those with the same
        value in the column `basket` behind each other must."""
        self._scorer, self._binding, self._outputs = scorer, binding, outputs
        self._names = [each.name for each in binding.fed]
        self._block_rows = call_rows or _block_rows(scorer, sum(each.width_bytes for each in outputs))
        self._basket = next((at for at, each in enumerate(binding.fed) if each.column == basket), None)
        self._of_nulls = {at: reason for at, each in enumerate(binding.fed) if (reason := _refusal_of_null(each.field))}

    def score(self, table: pa.Table, scored: Callable[[int], None], before: pa.Table | None = None) -> Scored:
        """The answers to a table's rows; `scored` is told of each block, and may raise `Stopped`.

        The rows `before` are asked with them, because they belong to its first basket, and are not answered here.
        """
        if before is not None:
            return self._score_behind(before, table, scored)
        arrays = [_whole(table.column(each.column)) for each in self._binding.fed]
        faults: list[Fault] = []
        blocks: list[_Block] = []
        for first, end in self._spans(arrays, table.num_rows):
            rows = np.arange(first, end, dtype=np.int64)
            given = _Given(
                [array.slice(first, len(rows)) for array in arrays], [each.field for each in self._binding.fed]
            )
            rows = self._without_nulls(given, rows, first, faults)
            if self._basket is None:
                blocks += self._answered(given.columns(), rows - first, first, faults)
            else:
                blocks += self._answered_by_basket(given, rows - first, first, faults)
            scored(given.count)
        faults.sort(key=lambda fault: fault.at)
        kept = np.concatenate([block.rows for block in blocks] or [np.zeros(0, np.int64)])
        columns = [self._column(output, blocks) for output in self._outputs]
        return Scored(columns, None if len(kept) == table.num_rows else kept, faults)

    def _score_behind(self, before: pa.Table, table: pa.Table, scored: Callable[[int], None]) -> Scored:
        skipped, left = before.num_rows, before.num_rows

        def counted(rows: int) -> None:
            nonlocal left
            scored(max(0, rows - left))
            left = max(0, left - rows)

        found = self.score(pa.concat_tables([before, table.select(before.column_names)]), counted)
        kept = np.arange(skipped + table.num_rows) if found.kept is None else found.kept
        mine = int(np.searchsorted(kept, skipped))
        faults = [replace(each, at=each.at - skipped) for each in found.faults if each.at >= skipped]
        rest = kept[mine:] - skipped
        return Scored(
            [column.slice(mine) for column in found.columns], None if len(rest) == table.num_rows else rest, faults
        )

    def _spans(self, arrays: Sequence[pa.Array], count: int) -> Iterator[tuple[int, int]]:
        """Where blocks begin and end: as large as they may be, and larger where a basket is."""
        starts = None if self._basket is None else np.append(run_starts(arrays[self._basket]), count)
        first = 0
        while first < count:
            end = min(first + self._block_rows, count)
            if starts is not None:
                place = int(np.searchsorted(starts, end, "right")) - 1
                end = int(starts[place] if place >= 0 and starts[place] > first else starts[place + 1])
            yield first, end
            first = end

    def _answered_by_basket(self, given: "_Given", rows: Rows, first: int, faults: list[Fault]) -> list["_Block"]:
        """The answers to these rows of a block, of which no basket is asked in parts, but for its bad rows."""
        assert self._basket is not None
        columns = given.columns()
        rows = self._unrefused(columns, rows, first, faults)
        if not len(rows):
            return []
        try:
            return [self._block(self._question(columns, rows), rows, first)]
        except Problem as problem:
            _check_memory(problem)
            starts = run_starts(given.arrays[self._basket].take(pa.array(rows)))
            if len(starts):
                middle = int(starts[np.abs(starts - len(rows) // 2).argmin()])
                upper = self._answered_by_basket(given, rows[:middle], first, faults)
                return upper + self._answered_by_basket(given, rows[middle:], first, faults)
            faults += [Fault(int(row) + first, None, f"its basket is refused: {problem.detail}") for row in rows]
            return []

    def _unrefused(self, given: Sequence[TypedColumn], rows: Rows, first: int, faults: list[Fault]) -> Rows:
        """The rows that the signature lets pass."""
        if not len(rows):
            return rows
        try:
            self._question(given, rows)
        except Problem as problem:
            bad = self._noted(problem, rows, first, faults)
            left = rows[[int(row) not in bad for row in rows]]
            if bad and not (len(problem.errors) >= MAX_FIELD_ERRORS and len(rows) > _SMALL):
                return self._unrefused(given, left, first, faults)
            half = max(1, len(left) // 2)
            parts = (left[:half], left[half:])
            return np.concatenate([self._unrefused(given, part, first, faults) for part in parts])
        return rows

    def _block(self, question: Question, rows: Rows, first: int) -> "_Block":
        return _Block(rows + first, {each.name: each for each in self._scorer.columns(question)})

    def _column(self, output: OutputColumn, blocks: Sequence["_Block"]) -> pa.ChunkedArray:
        arrays = []
        for block in blocks:
            column = block.columns.get(output.name)
            try:
                arrays.append(pa.nulls(len(block.rows), output.kind) if column is None else output.array(column.values))
            except (pa.ArrowException, TypeError, OverflowError) as error:
                detail = (
                    f"the model's output {output.name!r} is not of the type {output.kind}, as that of its sample is"
                )
                raise BatchFailed("model_refused", f"{detail}: {error}") from error
        return pa.chunked_array(arrays, output.kind)

    def _without_nulls(self, given: "_Given", rows: Rows, first: int, faults: list[Fault]) -> Rows:
        """The rows that miss nothing which must be there: what is most often wrong, found for all of them at once."""
        gone = np.zeros(len(rows), np.bool_)
        for at, reason in self._of_nulls.items():
            array = given.arrays[at]
            if not array.null_count:
                continue
            missing = compute.is_null(array).to_numpy(zero_copy_only=False) & ~gone
            column = self._binding.fed[at].column
            faults += [Fault(int(place) + first, column, reason) for place in np.flatnonzero(missing)]
            gone |= missing
        return rows[~gone] if gone.any() else rows

    def _answered(self, given: Sequence[TypedColumn], rows: Rows, first: int, faults: list[Fault]) -> list["_Block"]:
        """The answers to these rows of a block, in as few calls as the bad ones among them allow."""
        if not len(rows):
            return []
        try:
            question = self._question(given, rows)
        except Problem as problem:
            bad = self._noted(problem, rows, first, faults)
            left = rows[[int(row) not in bad for row in rows]]
            is_full = len(problem.errors) >= MAX_FIELD_ERRORS and len(rows) > _SMALL
            if bad and not is_full:
                return self._answered(given, left, first, faults)
            return self._halved(given, left, first, faults) if len(left) else []
        try:
            return [self._block(question, rows, first)]
        except Problem as problem:
            if len(rows) > 1:
                return self._halved(given, rows, first, faults)
            _check_memory(problem)
            faults.append(Fault(int(rows[0]) + first, None, problem.detail))
            return []

    def _halved(self, given: Sequence[TypedColumn], rows: Rows, first: int, faults: list[Fault]) -> list["_Block"]:
        half = max(1, len(rows) // 2)
        upper = self._answered(given, rows[:half], first, faults)
        return upper + self._answered(given, rows[half:], first, faults)

    def _question(self, given: Sequence[TypedColumn], rows: Rows) -> Question:
        count = len(rows)
        is_all = bool(given) and count == _length(given[0])
        chosen = given if is_all else [column.chosen(rows.tolist()) for column in given]
        return self._scorer.validator.typed(self._names, chosen, count)

    def _noted(self, problem: Problem, rows: Rows, first: int, faults: list[Fault]) -> set[int]:
        """The rows that a problem names, each told once; a single one is bad whatever the problem says."""
        _check_memory(problem)
        found: set[int] = set()
        for error in problem.errors:
            tokens = error.pointer.split("/")
            if len(tokens) < 3 or tokens[1] != "inputs" or not tokens[2].isdecimal():
                continue
            row = int(rows[int(tokens[2])])
            if row not in found:
                found.add(row)
                column = self._binding.column_of(tokens[3]) if len(tokens) > 3 else None
                reason = f"{error.detail} ({error.hint})" if error.hint else error.detail
                faults.append(Fault(row + first, column, reason))
        if not found and len(rows) == 1:
            found.add(int(rows[0]))
            faults.append(Fault(int(rows[0]) + first, None, problem.detail))
        return found


@dataclass(frozen=True, slots=True)
class _Block:
    """Answers to rows, by their places in the chunk."""

    rows: Rows
    columns: dict[str, NamedColumn]


@dataclass(frozen=True, slots=True)
class _Given:
    """A block's part of each column."""

    arrays: list[pa.Array]
    fields: list[InputField]

    @property
    def count(self) -> int:
        return len(self.arrays[0]) if self.arrays else 0

    def columns(self) -> list[TypedColumn]:
        known: Dictionaries = {}
        return [_typed(array, field, known) for array, field in zip(self.arrays, self.fields, strict=True)]


def _typed(array: pa.Array, field: InputField, known: Dictionaries) -> TypedColumn:
    """An array as the field that it feeds wants it; a file's bytes are a vector to an input of such."""
    if len(array) == 1 and field.datatype == "UINT8" and types.is_large_binary(array.type):
        data: bytes = array[0].as_py()
        if not data.startswith(NPY_MAGIC):
            return TypedColumn(np.frombuffer(data, np.uint8).reshape(1, -1))
    return column_of(array, field, known)


def _check_memory(problem: Problem) -> None:
    if problem.code == _NO_MEMORY:
        raise BatchFailed("out_of_memory", problem.detail, "raise the memory limit of the run") from problem


def _length(column: TypedColumn) -> int:
    return len(column.listed) if column.array is None else len(column.array)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _block_rows(scorer: Scorer, answer_bytes: int) -> int:
    """As many rows as one call takes, by what the inputs or outputs of one have; a free size is taken for 64."""
    width_bytes = 0
    for field in scorer.signature.inputs:
        shape = record_shape(field, scorer.signature)
        width_bytes += DTYPES[field.datatype].itemsize * int(np.prod([64 if size < 0 else size for size in shape]))
    return max(1, min(MOST_ROWS, _CALL_BYTES // max(width_bytes, answer_bytes, 1)))


def _refusal_of_null(field: InputField) -> str:
    """What is said of a missing value; nothing where one is taken."""
    if field.nullable or not field.required:
        return ""
    try:
        compile_element(field).convert(None)
    except Unfit as unfit:
        return unfit.detail
    return ""
