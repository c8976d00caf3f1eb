"""What a prediction body may say, and that everything else is refused with the value's pointer."""

import json
from collections.abc import Callable

import numpy as np
import pytest

from serving.json_text import parse
from serving.problems import MAX_FIELD_ERRORS, Problem
from serving.signature import InputField, Interval, Treatment
from serving.validate import Question, Validator
from tests.serving.models import scalar, signature_of

REFUSES = Treatment("returnInvalid")
FIELDS = (
    scalar("age"),
    scalar("count", "INT8"),
    InputField("job", "BYTES", (-1,), values=("clerk", "nurse"), invalid=REFUSES),
    InputField("vector", "FP32", (-1, 2)),
    InputField("flag", "BOOL", (-1,)),
    InputField("grade", "FP64", (-1,), intervals=(Interval(0, 10), Interval(20, None, False)), invalid=REFUSES),
    InputField("day", "BYTES", (-1,), logical_type="date"),
)
GOOD: dict[str, object] = {
    "age": 42, "count": 3, "job": "clerk", "vector": [1, 2.5], "flag": True, "grade": 10, "day": "2024-02-29",
}  # fmt: skip


def ask(body: object, *fields: InputField) -> Question:
    return Validator(signature_of(fields or FIELDS)).question(parse(json.dumps(body).encode()))


def refusal(body: object, *fields: InputField) -> Problem:
    with pytest.raises(Problem) as caught:
        ask(body, *fields)
    assert (caught.value.status, caught.value.code) == (422, "invalid_input")
    return caught.value


def test_a_good_record_becomes_one_row_per_column_in_the_models_datatypes() -> None:
    question = ask({"inputs": GOOD})
    assert (question.form, question.records) == ("record", 1)
    (call,) = question.calls
    assert [(name, str(column.dtype), column.shape) for name, column in call.items()] == [
        ("age", "float64", (1,)), ("count", "int8", (1,)), ("job", "object", (1,)), ("vector", "float32", (1, 2)),
        ("flag", "bool", (1,)), ("grade", "float64", (1,)), ("day", "object", (1,)),
    ]  # fmt: skip


def test_many_records_are_stacked_in_their_order() -> None:
    question = ask({"inputs": [{**GOOD, "age": age} for age in (1, 2, 3)]})
    assert (question.form, question.records) == ("records", 3)
    assert question.calls[0]["age"].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("name", "value", "pointer", "words"),
    [
        ("age", None, "/inputs/age", "null"),
        ("age", "42", "/inputs/age", "must be a number"),
        ("age", True, "/inputs/age", "must be a number"),
        ("age", [1], "/inputs/age", "a list"),
        ("age", {}, "/inputs/age", "an object"),
        ("age", 10**400, "/inputs/age", "does not fit into FP64"),
        ("count", 1.5, "/inputs/count", "must be an integer"),
        ("count", 200, "/inputs/count", "does not fit into INT8"),
        ("count", -(10**30), "/inputs/count", "does not fit into INT8"),
        ("count", True, "/inputs/count", "must be an integer"),
        ("job", 3, "/inputs/job", "must be a string"),
        ("job", "clark", "/inputs/job", "not one of the allowed values"),
        ("vector", [1], "/inputs/vector", "shape [1]; expected [2]"),
        ("vector", [1, 2, 3], "/inputs/vector", "shape [3]; expected [2]"),
        ("vector", [[1, 2]], "/inputs/vector", "shape [1, 2]; expected [2]"),
        ("vector", [1, [2]], "/inputs/vector/1", "a list"),
        ("vector", [1, "2"], "/inputs/vector/1", "must be a number"),
        ("vector", [1, True], "/inputs/vector/1", "must be a number"),
        ("vector", [1, None], "/inputs/vector/1", "null"),
        ("vector", [1, 1e39], "/inputs/vector/1", "does not fit into FP32"),
        ("vector", 1, "/inputs/vector", "must be a list"),
        ("vector", [], "/inputs/vector", "shape [0]"),
        ("flag", 1, "/inputs/flag", "must be true or false"),
        ("flag", "true", "/inputs/flag", "must be true or false"),
        ("grade", 11, "/inputs/grade", "outside the allowed range"),
        ("grade", 20, "/inputs/grade", "outside the allowed range"),
        ("day", "2023-02-29", "/inputs/day", "not a date"),
    ],
)
def test_a_wrong_value_is_refused_with_its_pointer(name: str, value: object, pointer: str, words: str) -> None:
    problem = refusal({"inputs": {**GOOD, name: value}})
    assert [error.pointer for error in problem.errors] == [pointer]
    assert words in problem.errors[0].detail


@pytest.mark.parametrize(("name", "value"), [("count", 3.0), ("age", 10**18), ("grade", 20.5), ("vector", [1, 2])])
def test_a_number_may_be_written_as_an_integer_or_a_float_where_nothing_is_lost(name: str, value: object) -> None:
    assert ask({"inputs": {**GOOD, name: value}}).calls[0][name].tolist() == [value]


def test_the_hints_tell_the_nearest_name_value_and_spelling() -> None:
    wrong = {**GOOD, "job": "clark", "count": "3", "agee": 1}
    del wrong["age"]
    problem = refusal({"inputs": wrong})
    assert {error.pointer for error in problem.errors} == {"/inputs/agee", "/inputs/age"}
    assert any("did you mean 'age'?" in error.hint for error in problem.errors)
    problem = refusal({"inputs": {**GOOD, "job": "clark", "count": "3"}})
    hints = {error.pointer: error.hint for error in problem.errors}
    assert "did you mean 'clerk'?" in hints["/inputs/job"]
    assert hints["/inputs/count"] == "write it without quotes"


def test_a_bad_record_of_many_is_named_by_its_index() -> None:
    problem = refusal({"inputs": [GOOD] * 17 + [{**GOOD, "age": "old"}]})
    assert [error.pointer for error in problem.errors] == ["/inputs/17/age"]


def test_errors_are_collected_up_to_a_limit() -> None:
    problem = refusal({"inputs": [{**GOOD, "age": "old", "count": 0.5}] * 1000})
    assert len(problem.errors) == MAX_FIELD_ERRORS


def test_a_name_is_escaped_in_its_pointer() -> None:
    assert refusal({"inputs": {"a/b~c": "x"}}, scalar("a/b~c")).errors[0].pointer == "/inputs/a~1b~0c"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, ""),
        ([], ""),
        (3, ""),
        ({"inputs": []}, "/inputs"),
        ({"inputs": 3}, "/inputs"),
        ({"inputs": [3]}, "/inputs/0"),
        ({"inputs": [[1, 2]]}, "/inputs/0"),
        ({"input": GOOD}, "/input"),
        ({"inputs": GOOD, "webhook": "x"}, "/webhook"),
        ({"inputs": GOOD, "tensors": {}}, ""),
        ({"columns": ["x"]}, ""),
        ({"data": [[1]]}, ""),
        ({"columns": [], "data": []}, "/columns"),
        ({"columns": ["x"], "data": []}, "/data"),
        ({"columns": ["x"], "data": [1]}, "/data/0"),
        ({"columns": ["x"], "data": [[1, 2]]}, "/data/0"),
        ({"columns": ["x"], "data": [[1], ["a"]]}, "/data/1/0"),
        ({"columns": ["x", "x"], "data": [[1, 2]]}, "/columns/1"),
        ({"columns": ["y"], "data": [[1]]}, "/columns/0"),
        ({"tensors": 3}, "/tensors"),
        ({"tensors": {}}, "/tensors/x"),
        ({"tensors": {"x": 3}}, "/tensors/x"),
        ({"tensors": {"x": []}}, "/tensors/x"),
        ({"tensors": {"x": [1], "y": [1]}}, "/tensors/y"),
    ],
)
def test_a_body_that_spells_no_question_is_refused(body: object, pointer: str) -> None:
    assert pointer in [error.pointer for error in refusal(body, scalar("x")).errors]


def test_a_table_asks_what_its_records_would() -> None:
    question = ask({"columns": ["b", "a"], "data": [[1, "x"], [2, "y"]]}, scalar("a", "BYTES"), scalar("b"))
    assert question.form == "table"
    assert {name: column.tolist() for name, column in question.calls[0].items()} == {"a": ["x", "y"], "b": [1, 2]}


def test_a_table_fills_the_only_vector_by_position() -> None:
    vector = InputField("vector", "FP32", (-1, 2))
    question = ask({"columns": ["length", "width"], "data": [[1, 2], [3, 4]]}, vector)
    assert question.calls[0]["vector"].tolist() == [[1, 2], [3, 4]]
    problem = refusal({"columns": ["length", "width"], "data": [[1, 2], [3, "4"]]}, vector)
    assert problem.errors[0].pointer == "/data/1/1"


def test_tensors_keep_every_dimension_and_agree_about_the_number_of_records() -> None:
    vector = InputField("vector", "FP32", (-1, 2))
    question = ask({"tensors": {"vector": [[1, 2], [3, 4]], "x": [1, 2]}}, vector, scalar("x"))
    assert question.calls[0]["vector"].shape == (2, 2)
    problem = refusal({"tensors": {"vector": [[1, 2], [3, 4]], "x": [1]}}, vector, scalar("x"))
    assert "different numbers of records: vector 2, x 1" in problem.detail


@pytest.mark.parametrize("treatment", ["asIs", "asMissing", "asValue"])
def test_what_the_model_treats_itself_is_let_pass(treatment: str) -> None:
    field = InputField("job", "BYTES", (-1,), values=("clerk",), invalid=Treatment(treatment))
    assert ask({"inputs": {"job": "pilot"}}, field).calls[0]["job"].tolist() == ["pilot"]


@pytest.mark.parametrize("record", [{}, {"x": None}])
def test_a_missing_value_is_nan_in_a_float_and_none_elsewhere_where_it_is_allowed(record: dict[str, object]) -> None:
    optional = InputField("x", "FP32", (-1,), required=False, nullable=True)
    (call,) = ask({"inputs": [record, {"x": 1}]}, optional).calls
    assert np.isnan(call["x"][0])
    whole = InputField("x", "INT64", (-1,), required=False, nullable=True)
    (call,) = ask({"inputs": [record, {"x": 1}]}, whole).calls
    assert call["x"].tolist() == [None, 1]


def test_a_nullable_vector_takes_null_as_nan_and_is_still_required() -> None:
    field = InputField("x", "FP32", (-1, 2), nullable=True)
    (call,) = ask({"inputs": {"x": [None, 1]}}, field).calls
    assert np.isnan(call["x"][0, 0])
    assert refusal({"inputs": {}}, field).errors[0].detail == "is missing"


def test_an_input_with_a_default_of_its_own_is_left_out() -> None:
    (call,) = ask({"inputs": {"y": 1}}, InputField("x", "INT64", (-1,), required=False), scalar("y")).calls
    assert list(call) == ["y"]


def test_a_number_of_shape_one_may_stand_without_its_list() -> None:
    field = InputField("x", "FP32", (-1, 1))
    for value in (3, [3]):
        assert ask({"inputs": {"x": value}}, field).calls[0]["x"].tolist() == [[3]]
    assert ask({"inputs": [{"x": 3}, {"x": [4.0]}]}, field).calls[0]["x"].tolist() == [[3], [4]]


def test_free_dimensions_must_agree_within_one_stack() -> None:
    field = InputField("x", "FP32", (-1, -1))
    assert ask({"inputs": [{"x": [1, 2]}, {"x": [3, 4]}]}, field).calls[0]["x"].shape == (2, 2)
    assert refusal({"inputs": [{"x": [1, 2]}, {"x": [3]}]}, field).errors[0].pointer == "/inputs/1/x"


def test_a_model_of_one_record_is_called_once_per_record() -> None:
    validator = Validator(signature_of((InputField("x", "FP32", (1, 2)),), batch="loop"))
    question = validator.question({"inputs": [{"x": [1, 2]}, {"x": [3, 4]}]})
    assert [call["x"].shape for call in question.calls] == [(1, 2), (1, 2)]


def test_a_model_without_records_takes_whole_tensors() -> None:
    validator = Validator(signature_of((InputField("x", "FP32", (2,)), InputField("k", "INT64", ())), batch="none"))
    (call,) = validator.question({"inputs": {"x": [1, 2], "k": 3}}).calls
    assert (call["x"].shape, call["k"].shape) == ((2,), ())
    (call,) = validator.question({"tensors": {"x": [1, 2], "k": 3}}).calls
    assert (call["x"].shape, call["k"].shape) == ((2,), ())


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty"),
        (b"{", "not JSON"),
        (b'{"inputs":{"x":NaN}}', "not JSON"),
        (b'{"inputs":{"x":Infinity}}', "not JSON"),
        (b'{"inputs":{"x":-Infinity}}', "not JSON"),
        (b'{"inputs":{"x":1e999}}', "too large"),
        (b'{"inputs":' + b"9" * 5000 + b"}", "too large"),
        (b'{"inputs":{"x":"\xff"}}', "UTF-8"),
        (b"[" * 10_000 + b"]" * 10_000, "nested too deeply"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "nested too deeply"),
        (b"\x80\x04\x95", "not JSON"),
    ],
    ids=lambda each: repr(each)[:30],
)
def test_a_body_that_is_not_json_is_refused_with_the_reason(body: bytes, words: str) -> None:
    with pytest.raises(Problem) as caught:
        parse(body)
    assert (caught.value.status, caught.value.code) == (400, "malformed_json")
    assert words in caught.value.detail


@pytest.mark.parametrize("nest", [lambda x: [x], lambda x: {"x": x}], ids=["lists", "objects"])
def test_deep_nesting_below_the_parsers_limit_is_refused_like_any_wrong_shape(nest: Callable[[object], object]) -> None:
    value: object = 1
    for _ in range(500):
        value = nest(value)
    assert refusal({"inputs": {"x": value}}, InputField("x", "FP32", (-1, 2))).errors
