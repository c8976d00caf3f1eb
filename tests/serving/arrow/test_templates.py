"""Streams written by a template are those that pyarrow writes, and what does not fit one is left to it."""

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from pyarrow import ipc

from serving.answer_table import NamedColumn
from serving.arrow.templates import write_plain
from serving.layouts import END

ABOUT = {"model": "iris", "version": "1", "service": "iris"}
DICE = np.random.default_rng(5)
KINDS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "text", "unicode")
TEXTS = {"text": ["", "a", "setosa"], "unicode": ["", "ä", "\N{SNOWMAN}x", "b"]}


def values(kind: str, rows: int) -> NDArray[np.generic]:
    if kind in TEXTS:
        return np.array([TEXTS[kind][at % len(TEXTS[kind])] for at in range(rows)], np.object_)
    return DICE.normal(scale=50, size=(rows, 3)).astype(kind)[:, 1]  # of a table, as probabilities are


def written_by_pyarrow(columns: list[NamedColumn]) -> bytes:
    metadata = {f"portside.{name}": value for name, value in ABOUT.items()}
    arrays = [pa.array(np.ascontiguousarray(column.values)) for column in columns]
    batch = pa.RecordBatch.from_arrays(arrays, [column.name for column in columns], metadata=metadata)
    out = pa.BufferOutputStream()
    with ipc.new_stream(out, batch.schema) as writer:
        writer.write_batch(batch)
    written: bytes = out.getvalue().to_pybytes()
    return written


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 8, 9, 1000])
def test_a_template_writes_what_pyarrow_writes_to_the_last_byte(rows: int) -> None:
    for first in KINDS:
        for count in (1, 2, 5):
            kinds = (first, *DICE.choice(KINDS, count - 1))
            columns = [NamedColumn(f"{kind} {at}", values(kind, rows)) for at, kind in enumerate(kinds)]
            told = write_plain(columns, ABOUT)
            assert told == written_by_pyarrow(columns)
            assert told.endswith(END)


@pytest.mark.parametrize(
    "column",
    [np.zeros(0, np.float32), np.zeros((2, 2)), np.array([True]), [1], np.array(["a", None], np.object_),
     np.array(["\ud800"], np.object_), np.array(["2026-01-01"], "M8[D]"), np.array([b"a"], np.object_)],
)  # fmt: skip
def test_what_fits_no_template_is_left_to_pyarrow(column: NDArray[np.generic] | list[object]) -> None:
    assert write_plain([NamedColumn("x", column)], ABOUT) is None


def test_columns_of_different_lengths_and_none_at_all_are_left_to_pyarrow() -> None:
    columns = [NamedColumn("a", np.zeros(2)), NamedColumn("b", np.zeros(3))]
    assert write_plain(columns, ABOUT) is None
    assert write_plain([], ABOUT) is None
