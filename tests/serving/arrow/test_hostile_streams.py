"""Streams that were made to break their reader: each is refused in words, soon, and within little memory."""

import random
import struct

import numpy as np
import pyarrow as pa
import pytest

from serving.datatypes import in_words
from serving.media import ARROW
from serving.problems import Problem
from serving.score import Scorer
from serving.signature import Datatype, InputField
from tests.serving.arrow.streams import refusal, stream
from tests.serving.bodies import send
from tests.serving.models import echo_scorer, scalar

X = scalar("x", "FP32")
FIELDS = (
    InputField("age", "FP64", (-1,), nullable=True),
    InputField("job", "BYTES", (-1,), nullable=True),
    InputField("child", "BOOL", (-1,)),
    InputField("x", "FP32", (-1, 2)),
    InputField("words", "BYTES", (-1,)),
)
TABLE = pa.table(
    {
        "age": pa.array([1.5, None, 3.0] * 4),
        "job": pa.array(["clerk", None, "smith"] * 4).dictionary_encode(),
        "child": [True, False, True] * 4,
        "x": pa.array([[1.0, 2.0]] * 12, pa.list_(pa.float32())),
        "words": pa.array(["short", "a text that is longer than a view holds", ""] * 4, pa.string_view()),
    }
)
MUTANTS = 400


def status_of(scorer: Scorer, body: bytes) -> int:
    try:
        return send(scorer, body, ARROW).status
    except Problem as problem:
        return problem.status
    except MemoryError:
        return 422  # as the application tells it


def test_no_mutant_of_a_stream_is_more_than_refused() -> None:
    rng = random.Random(6)
    scorer = echo_scorer(*FIELDS)
    originals = [stream(TABLE, compression, 5) for compression in (None, "lz4", "zstd")]
    statuses = []
    for _ in range(MUTANTS):
        mutant = bytearray(rng.choice(originals))
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(mutant))
            match rng.randrange(6):
                case 0:
                    mutant[at] ^= 1 << rng.randrange(8)
                case 1:
                    mutant[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
                case 2:
                    odd = rng.choice((0, -1, 1, 2**31 - 1, 2**63 - 1, -(2**63), 2**40))
                    mutant[at & ~7 : (at & ~7) + 8] = struct.pack("<q", odd)
                case 3:
                    odd = rng.choice((0, -1, 1, 4, 8, 2**31 - 1, -(2**31)))
                    mutant[at & ~3 : (at & ~3) + 4] = struct.pack("<i", odd)
                case 4 if rng.random() < 0.3:
                    del mutant[at:]
                    break
                case _:
                    del mutant[at : at + rng.randint(1, 16)]
            if not mutant:
                break
        statuses.append(status_of(scorer, bytes(mutant)))
    assert {each // 100 for each in statuses} == {2, 4}


NOT_STREAMS = {
    "nothing": b"",
    "text": b"a,b\n1,2\n",
    "a file": b"ARROW1\x00\x00" + stream(TABLE),
    "half a stream": stream(TABLE)[:300],
    "half a batch": stream(TABLE)[:-100],
    "zeros": bytes(1000),
    "a long message": struct.pack("<Ii", 0xFFFFFFFF, 2**31 - 1),
}


@pytest.mark.parametrize("name", NOT_STREAMS)
def test_what_is_no_stream_is_refused_as_such(name: str) -> None:
    problem = refusal(echo_scorer(*FIELDS), NOT_STREAMS[name])
    assert (problem.status, problem.code) == (400, "malformed_arrow")


def test_what_unpacks_to_too_much_is_refused_before_it_is_unpacked() -> None:
    bomb = stream(pa.table({"x": np.zeros(70_000_000, np.float32)}), "zstd")
    assert len(bomb) < 100_000
    problem = refusal(echo_scorer(X), bomb)
    assert (problem.status, "256 MiB" in problem.detail) == (413, True)


PACKED = {
    "truths": lambda: pa.array(np.zeros(9_000_000, np.bool_)),
    "lists": lambda: pa.array([np.zeros(9_000_000, np.bool_)]),
}


@pytest.mark.parametrize("name", PACKED)
def test_values_that_take_no_bytes_are_counted_before_they_are_made(name: str) -> None:
    bomb = stream(pa.table({"x": PACKED[name]()}), "zstd")
    assert len(bomb) < 10_000
    problem = refusal(echo_scorer(scalar("x", "BOOL")), bomb)
    assert (problem.status, "values" in problem.detail) == (413, True)


def test_a_dictionary_is_counted_once_and_before_it_is_read() -> None:
    empties = pa.Array.from_buffers(pa.string(), 9_000_000, [None, pa.py_buffer(bytes(36_000_004)), pa.py_buffer(b"")])
    bomb = pa.DictionaryArray.from_arrays(pa.array([0], pa.int8()), empties)
    problem = refusal(echo_scorer(scalar("x", "BYTES")), stream(pa.table({"x": bomb}), "zstd"))
    assert (problem.status, "values" in problem.detail) == (413, True)
    many = pa.DictionaryArray.from_arrays(pa.array([0] * 1000), empties[:10_000])  # ten million in all batches
    shared = stream(pa.table({"x": many}), rows_each=1)
    assert send(echo_scorer(scalar("x", "BYTES")), shared, ARROW).status == 200


def test_values_that_a_body_pays_for_are_taken() -> None:
    numbers = np.zeros(9_000_000, np.uint8)
    assert send(echo_scorer(scalar("x", "UINT8")), stream(pa.table({"x": numbers})), ARROW).status == 200


@pytest.mark.parametrize(("datatype", "column"), [("FP32", [True]), ("INT8", [[True]]), ("BYTES", [1]), ("BOOL", [1])])
def test_a_type_that_can_never_feed_its_input_is_refused_before_there_are_values(
    datatype: Datatype, column: list[object]
) -> None:
    scorer = echo_scorer(InputField("x", datatype, (-1,), nullable=True))
    problem = refusal(scorer, pa.table({"x": column}))
    assert (problem.status, problem.errors[0].pointer) == (422, "/columns/0")
    assert f"it must be {in_words(datatype)}" in problem.detail


def test_a_dictionary_or_view_does_not_multiply_a_text() -> None:
    long = "x" * 1_000_000
    encoded = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1000, np.int8)), pa.array([long]))
    view = struct.pack("<i4sii", len(long), b"xxxx", 0, 0) * 1000
    views = pa.Array.from_buffers(pa.string_view(), 1000, [None, pa.py_buffer(view), pa.py_buffer(long.encode())])
    for column in (encoded, views):
        problem = refusal(echo_scorer(InputField("job", "BYTES", (-1,))), pa.table({"job": column}))
        assert (problem.status, "MiB of text" in problem.detail) == (413, True)


def test_rows_that_take_no_bytes_are_not_counted_out() -> None:
    empty = stream(pa.table({"x": pa.nulls(3)}))
    assert empty.count(struct.pack("<q", 3)) >= 2
    many = empty.replace(struct.pack("<q", 3), struct.pack("<q", 2**40))
    problem = refusal(echo_scorer(InputField("x", "FP32", (-1,), nullable=True)), many)
    assert (problem.status, "more rows than its bytes" in problem.detail) == (400, True)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[]] * 3, pa.list_(pa.null())),
        pa.array([[]] * 3, pa.list_(pa.float32(), 0)),
        pa.array([b""] * 3, pa.binary(0)),
        pa.UnionArray.from_dense(
            pa.array([0, 0, 0], pa.int8()), pa.array([0, 1, 2], pa.int32()), [pa.array([1, 2, 3])]
        ),
        pa.RunEndEncodedArray.from_arrays(pa.array([3], pa.int32()), pa.array([1.0])),
        pa.array([[1.0]] * 3, pa.list_view(pa.float32())),
        pa.array([[("a", 1)]] * 3, pa.map_(pa.string(), pa.int64())),
        pa.array([1, 2, 3], pa.duration("s")),
    ],
    ids=lambda column: str(column.type)[:20],
)
def test_a_type_that_no_input_has_is_refused_by_its_name(column: pa.Array) -> None:
    problem = refusal(echo_scorer(X), pa.table({"x": column}))
    assert (problem.status, problem.errors[0].pointer) == (422, "/columns/0")
    assert "is of the type" in problem.errors[0].detail


def test_a_name_that_is_no_text_is_refused() -> None:
    for table, status in ((pa.table({"xxxx": [1.0]}), 400), (pa.table({"x": [{"xxxx": 1}]}), 422)):
        assert refusal(echo_scorer(X), stream(table).replace(b"xxxx", b"xx\xff\xff")).status == status


def test_too_many_messages_or_columns_are_refused() -> None:
    table = pa.table({"x": np.zeros(10_100, np.float32)})
    assert refusal(echo_scorer(X), stream(table, rows_each=1)).status == 413
    wide = pa.Table.from_arrays([pa.array([1.0])] * 10_001, [f"x{at}" for at in range(10_001)])
    assert refusal(echo_scorer(X), wide).status == 413


def test_a_stream_without_rows_or_columns_is_refused() -> None:
    assert refusal(echo_scorer(X), pa.table({"x": pa.array([], pa.float32())})).errors[0].pointer == "/inputs"
    assert refusal(echo_scorer(X), pa.table({})).errors[0].pointer == "/columns"
