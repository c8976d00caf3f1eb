"""Arrow streams as inputs: which types feed which inputs, what is refused, and that nothing is copied without need."""

import json
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from serving.answering import read
from serving.arrow.open import read_stream
from serving.engines.base import Columns
from serving.media import ARROW
from serving.score import Scorer
from serving.signature import Datatype, InputField, Interval, OutputField, Treatment
from serving.validate import Validator
from tests.serving.arrow.streams import Keeping, ask, is_same, refusal, stream
from tests.serving.bodies import send
from tests.serving.models import IDENTITY, echo_scorer, scalar, signature_of

VECTOR = InputField("x", "FP32", (-1, 2))
FLOWER = InputField("flower", "FP32", (-1, 2), features=("length", "width"))
AGE = InputField("age", "FP64", (-1,), nullable=True)
JOB = InputField("job", "BYTES", (-1,))
MIXED = (AGE, JOB, InputField("child", "BOOL", (-1,)), InputField("rooms", "INT32", (-1,)))
PEOPLE = {"age": [1.5, None], "job": ["clerk", "smith"], "child": [True, False], "rooms": [3, 4]}
REFUSED = Treatment("returnInvalid")
CHOICE = InputField("x", "FP64", (-1,), values=(1.0, 2.0), invalid=REFUSED)
SHARE = InputField("x", "FP64", (-1,), intervals=(Interval(0, 1),), invalid=REFUSED)


def keeping(*inputs: InputField) -> tuple[Scorer, Keeping]:
    model = Keeping()
    outputs = tuple(OutputField(field.name, field.datatype, field.shape) for field in inputs)
    return Scorer(signature_of(inputs, outputs), model, IDENTITY), model


def asked(field: InputField, values: Any) -> Columns:
    """What the engine is asked when a stream has this one column."""
    scorer, model = keeping(field)
    ask(scorer, pa.table({field.name: values}))
    return model.last


def test_columns_are_read_by_name_in_any_order_and_answered_in_their_own_types() -> None:
    answer = ask(echo_scorer(*MIXED), pa.table(dict(reversed(PEOPLE.items()))))
    assert answer.column_names == ["age", "job", "child", "rooms"]
    assert answer.schema.types == [pa.float64(), pa.string(), pa.bool_(), pa.int32()]
    assert answer["job"].to_pylist() == ["clerk", "smith"]
    assert str(answer["age"].to_pylist()) == "[1.5, nan]"


def test_a_column_of_the_inputs_own_type_is_not_copied() -> None:
    signature = signature_of((VECTOR,))
    values = np.arange(2000, dtype=np.float32)
    body = stream(pa.table({"x": pa.FixedSizeListArray.from_arrays(pa.array(values), 2)}))
    table = read_stream(Validator(signature), body)
    (call,) = Validator(signature).typed(table.columns, table.given, table.count).calls
    assert is_same(call["x"], values.reshape(1000, 2))
    begin = np.frombuffer(body, np.uint8).__array_interface__["data"][0]
    assert begin < call["x"].__array_interface__["data"][0] < begin + len(body)


@pytest.mark.parametrize(
    ("datatype", "numbers"),
    [("BOOL", [True, False]), ("UINT8", [0, 255]), ("UINT16", [0, 65535]), ("UINT32", [0, 2**32 - 1]),
     ("UINT64", [0, 2**64 - 1]), ("INT8", [-128, 127]), ("INT16", [-(2**15), 1]), ("INT32", [-(2**31), 1]),
     ("INT64", [-(2**63), 2**63 - 1]), ("FP16", [1.5, -65504]), ("FP32", [1e-45, 3.4028235e38]),
     ("FP64", [5e-324, 1.7976931348623157e308])],
)  # fmt: skip
def test_each_datatype_comes_and_goes_bit_for_bit(datatype: Datatype, numbers: list[Any]) -> None:
    dtype = {"BOOL": np.bool_, "FP16": np.float16, "FP32": np.float32, "FP64": np.float64}.get(datatype)
    sent = np.array(numbers, dtype or datatype.lower())
    scorer, model = keeping(InputField("x", datatype, (-1,)))
    answer = ask(scorer, pa.table({"x": sent}))
    assert is_same(model.last["x"], sent)
    assert is_same(answer["x"].to_numpy(), sent)


def test_nan_and_infinity_pass_to_a_tensor_and_miss_in_pmml() -> None:
    odd = np.array([np.nan, np.inf, -np.inf, -0.0], np.float32)
    assert is_same(asked(scalar("x", "FP32"), odd)["x"], odd)
    assert is_same(asked(scalar("x", "FP32"), odd.astype(np.float64))["x"], odd)
    pmml = Scorer(signature_of((scalar("x"),), file_format="pmml"), Keeping(), IDENTITY)
    assert [each.pointer for each in refusal(pmml, pa.table({"x": odd})).errors] == [
        f"/inputs/{at}/x" for at in (0, 1, 2)
    ]


@pytest.mark.parametrize(
    ("datatype", "values", "expected"),
    [
        ("INT64", pa.array([1, 2], pa.int32()), [1, 2]),
        ("INT8", pa.array([1, 2], pa.uint64()), [1, 2]),
        ("INT32", pa.array([1.0, 2.0]), [1, 2]),
        ("FP64", pa.array([0.5, 2], pa.float32()), [0.5, 2]),
        ("FP32", pa.array([0.1, 2]), [np.float32(0.1), 2]),
        ("FP32", pa.array([2**24, 2**25]), [2**24, 2**25]),
        ("FP32", pa.array([Decimal("0.5"), Decimal(2)]), [0.5, 2]),
        ("INT32", pa.array([Decimal(1), Decimal(2)]), [1, 2]),
        ("INT32", pa.array([7, 8, 7]).dictionary_encode(), [7, 8, 7]),
    ],
)
def test_numbers_of_another_type_are_taken_where_nothing_is_lost(
    datatype: Datatype, values: pa.Array, expected: list[float]
) -> None:
    column = asked(scalar("x", datatype), values)["x"]
    assert (column.dtype.itemsize * 8, column.tolist()) == (int(datatype.lstrip("INTFPU")), expected)


@pytest.mark.parametrize(
    ("field", "values", "pointer", "words"),
    [
        (scalar("x", "FP32"), [1, 2**24 + 1], "/inputs/1/x", "16777217, which FP32 cannot tell exactly"),
        (scalar("x", "FP32"), [1.0, 1e39], "/inputs/1/x", "does not fit into FP32"),
        (scalar("x", "INT32"), [1, 2**31], "/inputs/1/x", "does not fit into INT32"),
        (scalar("x", "INT32"), [1, 1.5], "/inputs/1/x", "1.5; it must be an integer"),
        (scalar("x", "INT32"), [1, None], "/inputs/1/x", "null"),
        (scalar("x"), [1.0, None], "/inputs/1/x", "null"),
        (scalar("x"), [None, None], "/inputs/0/x", "null"),
        (scalar("x"), [True, False], "/columns/0", "the type bool; it must be a number"),
        (scalar("x"), ["1", "2"], "/inputs/0/x", "the string '1'"),
        (scalar("x", "BOOL"), [1, 0], "/columns/0", "the type int64; it must be true or false"),
        (JOB, [1, 2], "/columns/0", "the type int64; it must be a string"),
        (JOB, [b"a", b"\xff"], "/inputs/1/job", "not UTF-8"),
        (VECTOR, [[1, 2], [3]], "/inputs/1/x", "has the shape [1]; expected [2]"),
        (VECTOR, [[1, 2], None], "/inputs/1/x", "null"),
        (VECTOR, [[1.0, 2], [3, None]], "/inputs/1/x/1", "null"),
        (scalar("x"), [{"a": 1}], "/columns/0", "is of the type struct<a: int64>"),
        (CHOICE, [1.0, 3.0], "/inputs/1/x", "not one of"),
        (SHARE, [1.0, 1.1], "/inputs/1/x", "range"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_column_and_row(
    field: InputField, values: list[Any], pointer: str, words: str
) -> None:
    problem = refusal(echo_scorer(field), pa.table({field.name: values}))
    assert (problem.status, problem.errors[0].pointer) == (422, pointer)
    assert words in problem.errors[0].detail


def test_unknown_and_missing_columns_are_named_with_the_nearest_input() -> None:
    problem = refusal(echo_scorer(*MIXED), pa.table({"agee": [1.0], "job": ["a"], "child": [True], "rooms": [1]}))
    assert [(error.pointer, error.hint) for error in problem.errors] == [
        ("/columns/0", "did you mean 'age'?"),
        ("/columns", "this model takes: age, job, child, rooms"),
    ][: len(problem.errors)]


def test_columns_fill_a_vector_by_its_names_or_by_position() -> None:
    scorer, model = keeping(FLOWER)
    ask(scorer, pa.table({"width": [2.0, 4.0], "length": pa.array([1, 3], pa.int8())}))
    assert is_same(model.last["flower"], np.array([[1, 2], [3, 4]], np.float32))
    scorer, model = keeping(VECTOR)
    ask(scorer, pa.table({"a": [1.0, 3.0], "b": [2, 4]}))
    assert is_same(model.last["x"], np.array([[1, 2], [3, 4]], np.float32))
    problem = refusal(scorer, pa.table({"a": [1.0, 3.0], "b": [2, None]}))
    assert problem.errors[0].pointer == "/inputs/1/b"


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float32(), 2), pa.list_(pa.float64()), pa.large_list(pa.int16()), pa.list_(pa.int64(), 2)]
)
def test_lists_of_one_length_are_a_vector(kind: pa.DataType) -> None:
    column = asked(VECTOR, pa.array([[0, 0], [1, 2], [3, 4]], kind).slice(1))["x"]
    assert is_same(column, np.array([[1, 2], [3, 4]], np.float32))


def test_nested_lists_and_shaped_tensors_have_more_dimensions() -> None:
    field = InputField("x", "UINT8", (-1, 2, 3))
    array = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert is_same(asked(field, pa.FixedShapeTensorArray.from_numpy_ndarray(array))["x"], array)
    nested = pa.array(array.tolist(), pa.list_(pa.list_(pa.uint8(), 3)))
    scorer, _ = keeping(field)
    answer = ask(scorer, pa.table({"x": nested}))["x"]
    assert (answer.type, answer.to_pylist()) == (pa.list_(pa.list_(pa.uint8(), 3), 2), array.tolist())


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
)
def test_texts_come_in_every_layout(kind: pa.DataType) -> None:
    texts = ["a", "naïve", "a", "", "a text that is longer than a view holds"]
    assert asked(JOB, pa.array(texts, pa.string()).cast(kind))["job"].tolist() == texts
    maybe = InputField("job", "BYTES", (-1,), nullable=True)
    gaps = pa.array([None, *texts], pa.string()).cast(kind)
    assert asked(maybe, gaps)["job"].tolist() == [None, *texts]


def test_dates_and_times_become_the_texts_that_pmml_takes() -> None:
    fields = [InputField(name, "BYTES", (-1,), logical_type=name) for name in ("date", "time", "dateTime")]
    scorer, model = keeping(*fields)
    moment = datetime(2024, 2, 29, 1, 2, 3, tzinfo=UTC)
    ask(scorer, pa.table({"date": [moment.date()], "time": [moment.time()], "dateTime": [moment.replace(tzinfo=None)]}))
    assert {name: column.tolist() for name, column in model.last.items()} == {
        "date": ["2024-02-29"], "time": ["01:02:03.000000"], "dateTime": ["2024-02-29T01:02:03.000000"],
    }  # fmt: skip
    pandas = [pa.array([moment.date()]).cast(pa.timestamp("ns")), pa.array([time(1)]), pa.array([moment])]
    ask(scorer, pa.table(dict(zip(("date", "time", "dateTime"), pandas, strict=True))))
    assert [model.last[name][0] for name in ("date", "dateTime")] == ["2024-02-29", "2024-02-29T01:02:03.000000Z"]


def test_bytes_are_a_file() -> None:
    field = InputField("image", "UINT8", (-1, -1))
    assert asked(field, pa.array([b"ab", b"cd"]))["image"].tolist() == [[97, 98], [99, 100]]


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
def test_batches_are_joined_also_where_they_are_compressed(compression: str | None) -> None:
    table = pa.table({"age": [float(at) if at % 7 else None for at in range(100)], "job": ["a", "b"] * 50})
    table = table.set_column(1, "job", table["job"].dictionary_encode())
    answer = send(echo_scorer(AGE, JOB), stream(table, compression, 9), ARROW, "application/json")
    told = json.loads(answer.body)["outputs"]["data"]
    assert told == [[age, job] for age, job in zip(table["age"].to_pylist(), ["a", "b"] * 50, strict=True)]


def test_a_bad_row_is_answered_by_its_error_and_the_others_are_answered() -> None:
    answer = ask(echo_scorer(*MIXED), pa.table(PEOPLE | {"rooms": [3, 2**31]}), keeps_going=True)
    assert answer["rooms"].to_pylist() == [3, None]
    assert answer["error"].to_pylist() == [None, "/inputs/1/rooms: is 2147483648, which does not fit into INT32"]


def test_a_model_that_takes_one_record_at_a_time_answers_all_rows() -> None:
    answer = ask(echo_scorer(InputField("x", "FP32", (1, 2)), batch="loop"), pa.table({"x": [[1.0, 2.0], [3.0, 4.0]]}))
    assert answer["x"].to_pylist() == [[1, 2], [3, 4]]


def test_workers_can_ask_what_a_stream_means() -> None:
    table = pa.table({"age": [None], "job": [b"a"], "child": [True], "rooms": [1]})
    answer = read(echo_scorer(*MIXED), stream(table), {b"content-type": ARROW.encode()})
    assert json.loads(answer.body) == {
        "columns": ["age", "job", "child", "rooms"], "data": [[None, {"$base64": "YQ=="}, True, 1]],
    }  # fmt: skip
