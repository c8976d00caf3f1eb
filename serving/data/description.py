"""What is told of a data file, as it is gathered: rows, columns with statistics, a preview, and what is wrong."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import pyarrow as pa

from serving.data.bad_cells import Fault
from serving.data.column_statistics import LONGEST_TEXT, ColumnStatistics
from serving.data.formats import Column, DatasetInvalid, Format
from serving.data.preview import Preview

MOST_BAD: Final = 0.1  # of all rows; beyond it the file is read in a wrong way, or is broken
MOST_NAMED: Final = 5
MOST_TEXTS: Final = 300_000  # characters of all columns, of which each has up to seven texts
LEAST_TEXT: Final = 30
LONGEST_NAME: Final = 1000  # characters of a column's
Report = Callable[[int, int], None]  # bytes of the file, and rows


@dataclass(slots=True)
class Description:
    """Gathers; `warnings` begins with those of the recognition."""

    preview: Preview
    warnings: list[str]
    rows: int = 0
    bad_rows: int = 0
    statistics: dict[str, ColumnStatistics] = field(default_factory=dict)
    invalid: dict[str, int] = field(default_factory=dict)
    is_estimated: bool = False
    _named: list[tuple[int, Fault]] = field(default_factory=list)

    def add(self, table: pa.Table) -> None:
        """Count the good rows of a chunk."""
        self.preview.add(table)
        for name, column in zip(table.column_names, table.columns, strict=True):
            self.column(name).add(column)

    def column(self, name: str) -> ColumnStatistics:
        """The statistics of a column."""
        return self.statistics.setdefault(name, ColumnStatistics())

    def refuse(self, faults: Mapping[int, Fault], line_of: Callable[[int], int]) -> None:
        """Count bad rows, by their place in the chunk; the first ones are named."""
        self.bad_rows += len(faults)
        for place in sorted(faults)[: MOST_NAMED - len(self._named)]:
            self._named.append((line_of(place), faults[place]))

    def check(self) -> None:
        """Raises `DatasetInvalid` where too many rows are bad to be an accident."""
        if self.bad_rows <= MOST_BAD * self.rows or not self._named:
            return
        line, (column, reason) = self._named[0]
        message = f"{self.bad_rows} of {self.rows} rows cannot be read; the first {_said(reason)}"
        hint = "Check the delimiter, the quotes and the encoding; each can be said with the upload."
        raise DatasetInvalid(message, hint, line=line, column=column)

    def as_json(self, format: Format, size_bytes: int) -> bytes:
        """The document that `describe` prints. Raises `DatasetInvalid` for a name that is too long to be repeated."""
        for column in format.columns:
            if len(column.name) > LONGEST_NAME:
                message = f"the column {column.name[:60]!r}… has a name of {len(column.name)} characters"
                raise DatasetInvalid(message, f"A name has at most {LONGEST_NAME}.", column=column.name[:60])
        self._warn()
        return msgspec.json.encode(
            {
                "format": msgspec.to_builtins(format),
                "rows": self.rows,
                "rows_are_estimated": self.is_estimated,
                "bad_rows": self.bad_rows,
                "size_bytes": size_bytes,
                "columns": [self._column(column) for column in format.columns],
                "preview": self.preview.as_json([column.name for column in format.columns]),
                "warnings": self.warnings,
            }
        )

    def _column(self, column: Column) -> Mapping[str, object]:
        told = self.column(column.name).as_json(column.type, self._longest())
        return {**msgspec.to_builtins(column), **told, "invalid": self.invalid.get(column.name, 0)}

    def _longest(self) -> int:
        """Of the texts of one column: those of all of them lie in one row of a database."""
        return max(LEAST_TEXT, min(LONGEST_TEXT, MOST_TEXTS // max(1, len(self.statistics))))

    def _warn(self) -> None:
        if self.bad_rows:
            shown = "; ".join(
                f"line {line}{'' if column is None else f', column {column!r}'}: {reason}"
                for line, (column, reason) in self._named
            )
            what = "1 row" if self.bad_rows == 1 else f"{self.bad_rows:,} rows"
            self.warnings.append(f"{what} cannot be read as intended (a batch leaves such rows out): {shown}")
        if partial := [name for name, each in self.statistics.items() if each.is_partial]:
            names = ", ".join(map(repr, partial[:MOST_NAMED]))
            self.warnings.append(
                f"least, greatest and distinct values are not known of {names}, whose type came out late"
            )
        if self.preview.has_cut_texts:
            self.warnings.append("long texts are cut in the preview")


def missing_columns(wanted: Sequence[Column], found: Sequence[Column]) -> None:
    """Raises `DatasetInvalid` where the columns are not those of another file."""
    if [column.name for column in wanted] != [column.name for column in found]:
        message = f"the columns are {_names(found)}, not {_names(wanted)}"
        raise DatasetInvalid(message, "All files of a dataset need the same columns in the same order.")


def _names(columns: Sequence[Column]) -> str:
    shown = ", ".join(column.name for column in columns[:20])
    return f"{shown}, …" if len(columns) > 20 else shown


def _said(reason: str) -> str:
    return reason if reason.startswith(("has ", "is ")) else f"says: {reason}"
