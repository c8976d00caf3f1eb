"""The first rows of a table as JSON, kept with its description."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import pyarrow as pa

from serving.data.json_values import LARGEST_NESTED, LONGEST_TEXT, is_cut, json_value, values_of

MOST_CELLS: Final = 100_000
MOST_BYTES: Final = 4 * 2**20  # a preview is answered in one piece
_LEAST_NESTED: Final = 100  # characters of a list or struct, beside however many columns


class Preview:
    """Rows until there are enough."""

    def __init__(self, most_rows: int) -> None:
        self.rows: list[list[object]] = []
        self.has_cut_texts = False
        self._most_rows, self._bytes = most_rows, 0

    def add(self, table: pa.Table) -> None:
        """Take what is wanting from the beginning of a table."""
        wanted = min(self._most_rows, max(1, MOST_CELLS // max(1, table.num_columns))) - len(self.rows)
        if wanted <= 0 or self._bytes > MOST_BYTES:
            return
        part = table.slice(0, wanted)
        for row in zip(*(values_of(column) for column in part.columns), strict=True):
            self._take(row)
            if self._bytes > MOST_BYTES:
                return

    def add_objects(self, objects: Sequence[Mapping[str, object]], names: Sequence[str]) -> None:
        """Likewise, from objects with these members."""
        wanted = min(self._most_rows, max(1, MOST_CELLS // max(1, len(names)))) - len(self.rows)
        for each in objects[: max(0, wanted)]:
            if self._bytes > MOST_BYTES:
                return
            self._take([each.get(name) for name in names])

    def as_json(self, names: Sequence[str]) -> Mapping[str, object]:
        """The rows under the names of their columns."""
        rows = [row + [None] * (len(names) - len(row)) for row in self.rows]
        return {"columns": list(names), "rows": rows}

    def _take(self, row: Sequence[object]) -> None:
        self.has_cut_texts |= any(map(is_cut, row))
        largest = min(LARGEST_NESTED, max(_LEAST_NESTED, MOST_BYTES // max(1, len(row))))
        shown = [json_value(value, LONGEST_TEXT, largest) for value in row]
        self.rows.append(shown)
        self._bytes += len(msgspec.json.encode(shown))
