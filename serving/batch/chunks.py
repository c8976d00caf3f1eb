"""What becomes of one piece of the input: read, scored and written, each step timed, by whichever thread has it."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa

from serving.batch.baskets import BasketPiece
from serving.batch.outputs import OutputColumn
from serving.batch.plan import Output
from serving.batch.scoring import ChunkScorer, Fault, Scored, Stopped
from serving.batch.writing import bad_file_name, file_name, write_bad_rows, write_table
from serving.data.formats import LONGEST_TEXT, BadRow, Position
from serving.data.source import Chunk, Piece, Source
from serving.problems import shorten

_FIRST_TOLD: Final = 5
# The lines of these rows of a piece, by their numbers among all input rows.
Lines = Callable[[Piece, Sequence[int]], Sequence[int | None]]


@dataclass(frozen=True, slots=True)
class Done:
    """A chunk whose files are written."""

    chunk: int
    first_row: int
    rows_in: int
    rows_out: int
    bad: int
    first_bad: Sequence[BadRow]
    file: Path
    bad_file: Path | None
    next: Position
    seconds: dict[str, float]

    def as_json(self) -> dict[str, object]:
        """The report of it."""
        return {
            "chunk": self.chunk,
            "first_row": self.first_row,
            "rows_in": self.rows_in,
            "rows_out": self.rows_out,
            "bad": self.bad,
            "file": self.file.name,
            "bad_file": None if self.bad_file is None else self.bad_file.name,
            "next": self.next,
            "seconds": self.seconds,
        }


class Chunks:
    """Makes chunks. Thread-safe."""

    def __init__(
        self,
        source: Source,
        scorer: ChunkScorer,
        through: Sequence[str],
        outputs: Sequence[OutputColumn],
        output: Output,
        folder: Path,
        lines: Lines,
    ) -> None:
        self._source, self._scorer, self._through, self._outputs = source, scorer, through, outputs
        self._output, self._folder, self._lines = output, folder, lines
        self._lock = threading.Lock()
        self.scored_rows = 0
        self.writing: set[int] = set()  # from when a chunk begins to be written until the committer takes it
        self.is_stopping = False

    @property
    def schema(self) -> pa.Schema:
        """Of what is written, but for what a format cannot say."""
        passed = [self._source.schema.field(name).remove_metadata() for name in self._through]
        return pa.schema([*passed, *(pa.field(each.called, each.kind) for each in self._outputs)])

    def stop(self) -> None:
        """Drop what is not yet being written."""
        with self._lock:
            self.is_stopping = True

    def make(self, piece: Piece) -> Done:
        """Make a chunk of a piece. Raises `DatasetInvalid`, `BatchFailed`, `OSError`, `MemoryError` and `Stopped`."""
        begun = time.perf_counter()
        chunk = self._source.read(piece)
        read = time.perf_counter()
        before = piece.before if isinstance(piece, BasketPiece) else None
        scored = self._scorer.score(chunk.table, self._count, before)
        computed = time.perf_counter()
        with self._lock:
            if self.is_stopping:
                raise Stopped
            self.writing.add(piece.ordinal)
        bad = self._bad_rows(piece, chunk, scored.faults)
        file, bad_file = self._written(chunk, scored, bad)
        seconds = {"read": read - begun, "score": computed - read, "write": time.perf_counter() - computed}
        return Done(
            chunk.ordinal,
            chunk.first_row,
            chunk.rows_in,
            chunk.table.num_rows - len(scored.faults),
            len(bad),
            bad[:_FIRST_TOLD],
            file,
            bad_file,
            chunk.next,
            {name: round(each, 6) for name, each in seconds.items()},
        )

    def forget(self, done: Done) -> None:
        """Remove the files of a chunk that the platform has kept."""
        done.file.unlink(missing_ok=True)
        if done.bad_file is not None:
            done.bad_file.unlink(missing_ok=True)

    def _count(self, rows: int) -> None:
        with self._lock:
            self.scored_rows += rows
            if self.is_stopping:
                raise Stopped

    def _written(self, chunk: Chunk, scored: Scored, bad: Sequence[BadRow]) -> tuple[Path, Path | None]:
        through = chunk.table.select(self._through)
        if scored.kept is not None:
            through = through.take(pa.array(scored.kept))
        table = pa.Table.from_arrays([*through.columns, *scored.columns], schema=self.schema)
        file = self._folder / file_name(chunk.ordinal, self._output)
        write_table(table, file, self._output, is_first=chunk.ordinal == 0)
        if not bad:
            return file, None
        bad_file = self._folder / bad_file_name(chunk.ordinal)
        write_bad_rows(bad, bad_file)
        return file, bad_file

    def _bad_rows(self, piece: Piece, chunk: Chunk, faults: Sequence[Fault]) -> list[BadRow]:
        """What the source and the model refuse, in the order of the rows."""
        if not faults:
            return list(chunk.bad)
        numbers = chunk.row_numbers
        rows = [chunk.first_row + each.at if numbers is None else int(numbers[each.at]) for each in faults]
        lines = self._lines(piece, rows)
        refused = [
            BadRow(row, line, each.column, each.reason, self._text(chunk.table, each))
            for row, line, each in zip(rows, lines, faults, strict=True)
        ]
        return sorted([*chunk.bad, *refused], key=lambda each: each.row)

    def _text(self, table: pa.Table, fault: Fault) -> str:
        """The value that is refused, as far as one is."""
        if fault.column is None or fault.column not in table.column_names:
            return ""
        value = table.column(fault.column)[fault.at].as_py()
        return "" if value is None or isinstance(value, bytes) else shorten(str(value), LONGEST_TEXT)
