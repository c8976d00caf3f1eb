"""A stream laid out like one before is read by that one's places: the same values, and the same refusals."""

import numpy as np
import pyarrow as pa
import pytest

from serving.arrow.open import read_stream
from serving.layouts import END, Layouts
from serving.problems import Problem
from serving.signature import InputField
from serving.typed import TypedTable
from serving.validate import Validator
from tests.serving.arrow.streams import is_same, stream
from tests.serving.models import signature_of

A, B = InputField("a", "FP32", (-1,)), InputField("b", "INT64", (-1,))
VECTOR = InputField("x", "FP64", (-1, 3))
DICE = np.random.default_rng(7)


def two(rows: int) -> pa.Table:
    return pa.table({"a": DICE.normal(size=rows).astype(np.float32), "b": DICE.integers(-9, 9, rows)})


def vectors(rows: int) -> pa.Table:
    return pa.table({"x": pa.FixedSizeListArray.from_arrays(pa.array(DICE.normal(size=3 * rows)), 3)})


def validator(*fields: InputField) -> Validator:
    return Validator(signature_of(fields))


def read(by: Validator, body: bytes) -> TypedTable:
    return read_stream(by, body)


def is_known(by: Validator, body: bytes) -> bool:
    return by.layouts.table(body) is not None


@pytest.mark.parametrize(("fields", "made"), [((A, B), two), ((VECTOR,), vectors)])
def test_the_second_stream_of_a_layout_is_read_like_the_first(fields: tuple[InputField, ...], made: object) -> None:
    assert callable(made)
    used = validator(*fields)
    for rows in (1, 7, 1000, 7, 1):
        body = stream(made(rows))
        given, fresh = read(used, body), read(validator(*fields), body)
        assert is_known(used, body)
        assert (given.columns, given.count) == (fresh.columns, fresh.count)
        for one, other in zip(given.given, fresh.given, strict=True):
            assert is_same(one.array, other.array)


def test_a_stream_may_end_without_saying_so() -> None:
    by, body = validator(A, B), stream(two(5))
    read(by, body.removesuffix(END))
    assert is_known(by, body)
    assert is_known(by, body.removesuffix(END))


def test_what_follows_the_batch_is_never_passed_over() -> None:
    by, body = validator(A, B), stream(two(5))
    read(by, body + b"rubbish")  # behind the end of a stream there may be anything
    assert not is_known(by, stream(two(10), rows_each=5))
    assert read(by, stream(two(10), rows_each=5)).count == 10
    for cut in (1, 8, 9, 40):
        assert not is_known(by, body[:-cut]) or cut == len(END)


@pytest.mark.parametrize(
    "table",
    [pa.table({"a": pa.array([1.5, None], pa.float32()), "b": [1, 2]}),
     pa.table({"a": pa.array([1.5, 2], pa.float32()), "b": pa.array([1, 2]).dictionary_encode()})],
)  # fmt: skip
def test_gaps_and_dictionaries_are_read_anew_each_time(table: pa.Table) -> None:
    by = Validator(signature_of((InputField("a", "FP32", (-1,), nullable=True), B)))
    read(by, stream(table))
    assert not is_known(by, stream(table))


def test_packed_streams_and_truths_and_lists_that_say_their_length_are_read_anew_each_time() -> None:
    packed = stream(pa.table({"a": np.zeros(1000, np.float32), "b": np.zeros(1000, np.int64)}), "lz4")
    by = validator(A, B)
    read(by, packed)
    assert not is_known(by, packed)
    lists = validator(VECTOR)
    body = stream(pa.table({"x": [[1.0, 2.0, 3.0]]}))
    read(lists, body)
    assert not is_known(lists, body)
    truths = validator(InputField("a", "BOOL", (-1,)))
    body = stream(pa.table({"a": [True]}))
    read(truths, body)
    assert not is_known(truths, body)


def test_no_layout_is_kept_of_what_was_refused() -> None:
    by = validator(A)
    for _ in range(2):
        with pytest.raises(Problem, match="not an input"):
            read(by, stream(two(3)))


def test_only_some_layouts_are_kept() -> None:
    by, kept = validator(A, B), 0
    bodies = [stream(two(rows)) for rows in range(1, 150)]
    for body in bodies:
        read(by, body)
        kept = max(kept, sum(is_known(by, each) for each in bodies))
    assert 0 < kept <= 64


def test_bytes_that_are_no_stream_are_never_known() -> None:
    layouts = Layouts()
    for body in (b"", b"\xff\xff\xff\xff", END, END * 9, b"\xff\xff\xff\xff\xff\xff\xff\x7f" * 3):
        assert layouts.table(body) is None


def test_a_stream_whose_buffers_may_be_packed_is_not_read_by_the_places_of_one_that_has_them_plain() -> None:
    field, sink = InputField("x", "INT64", (-1,)), pa.BufferOutputStream()
    numbers = pa.table({"x": DICE.integers(-(2**63), 2**63 - 1, 1001)})
    with pa.ipc.new_stream(sink, numbers.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_table(numbers)
    packed = sink.getvalue().to_pybytes()
    size_at = packed.rindex((8 * 1001).to_bytes(8, "little"))
    plain = packed[:size_at] + b"\xff" * 8 + packed[size_at + 8 :]  # "what follows is not packed"
    by = validator(field)
    read(by, plain)
    assert is_same(read(by, packed).given[0].array, numbers["x"].to_numpy())
