"""What is known of a column after all of its chunks: counted chunk by chunk, in constant memory."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa
from pyarrow import compute

from serving.data.json_values import json_value, values_of
from serving.data.types import word_of

MOST_DISTINCT: Final = 1000
MOST_EXAMPLES: Final = 5
LONGEST_TEXT: Final = 200  # characters of an example or an extreme
_GLANCE: Final = 4096  # rows in which a column of many values shows that it is one
_ORDERED: Final = {"int64", "float64", "string", "timestamp", "date", "decimal", "time"}
_COUNTED: Final = _ORDERED | {"bool"}
_NUMBERS: Final = {"int64", "float64"}


@dataclass(slots=True)
class ColumnStatistics:
    """Nulls, least and greatest value, mean, distinct values and examples of what was added."""

    nulls: int = 0
    count: int = 0  # of values
    least: Any = None
    greatest: Any = None
    total: float = 0.0
    finite: int = 0
    trues: int = 0
    distinct: set[object] | None = field(default_factory=set)
    examples: list[object] = field(default_factory=list)
    is_partial: bool = False  # what came before was of another type

    def add(self, column: pa.ChunkedArray) -> None:
        """Count a chunk of the column."""
        self.nulls += column.null_count
        self.count += len(column) - column.null_count
        if len(column) == column.null_count:
            return
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        word = word_of(column.type)
        if len(self.examples) < MOST_EXAMPLES:
            self._exemplify(column)
        try:
            self._measure(column, word)
        except pa.ArrowNotImplementedError:  # of a rare type
            self.distinct, self.is_partial = None, True

    def _measure(self, column: pa.ChunkedArray, word: str) -> None:
        if word in _ORDERED:
            self._compare(column)
        if word in _NUMBERS:
            self._sum(column)
        if word == "bool":
            self.trues += compute.sum(column).as_py() or 0
        if word not in _COUNTED:
            self.distinct = None
        elif self.distinct is not None:
            self._distinguish(column)

    def forget(self) -> None:
        """The column turns out to be of a type in which the values so far cannot be told: only their number is kept."""
        self.is_partial = self.count > 0
        self.least = self.greatest = None
        self.distinct = None if self.count else set()
        self.examples = [str(example) for example in self.examples]

    def as_json(self, word: str, longest: int = LONGEST_TEXT) -> Mapping[str, object]:
        """What is told of a column of this type, in texts of so many characters."""
        is_ordered = word in _ORDERED and not self.is_partial
        return {
            "nulls": self.nulls,
            "min": json_value(self.least, longest, longest) if is_ordered else None,
            "max": json_value(self.greatest, longest, longest) if is_ordered else None,
            "distinct": None if self.distinct is None else len(self.distinct),
            "mean": self.total / self.finite if word in _NUMBERS and self.finite else None,
            "true_count": self.trues if word == "bool" else None,
            "examples": [json_value(example, longest, longest) for example in self.examples],
        }

    def _exemplify(self, column: pa.ChunkedArray) -> None:
        for example in values_of(column.slice(0, _GLANCE).drop_null().slice(0, 100)):
            if example not in self.examples:
                self.examples.append(example)
            if len(self.examples) == MOST_EXAMPLES:
                return

    def _compare(self, column: pa.ChunkedArray) -> None:
        found = compute.min_max(column)
        least: Any
        greatest: Any
        least, greatest = values_of(pa.chunked_array([[found["min"], found["max"]]], column.type))
        if least is None or least != least:  # nothing but NaN
            return
        self.least = least if self.least is None else min(self.least, least)
        self.greatest = greatest if self.greatest is None else max(self.greatest, greatest)

    def _sum(self, column: pa.ChunkedArray) -> None:
        column = column.cast(pa.float64(), safe=False)
        total = compute.sum(column).as_py()
        if not math.isfinite(total):
            column = column.filter(compute.is_finite(column))
            total = compute.sum(column).as_py() or 0.0
        self.total += total
        self.finite += len(column) - column.null_count

    def _distinguish(self, column: pa.ChunkedArray) -> None:
        seen = self.distinct
        assert seen is not None
        for part in (column.slice(0, _GLANCE), column):
            values = compute.unique(part)
            if len(values) > MOST_DISTINCT + 1:
                self.distinct = None
                return
            seen.update(value for value in values_of(values) if value is not None and value == value)
            if len(seen) > MOST_DISTINCT:
                self.distinct = None
                return
