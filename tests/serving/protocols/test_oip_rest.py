"""The Open Inference Protocol over JSON: what is answered, and that every mistake of a client is a 4xx."""

import json
from typing import Any

import numpy as np
import pytest

from serving.problems import Problem
from serving.protocols.oip_rest import OipModel, error_text
from serving.score import Scorer
from serving.signature import InputField, OutputField
from tests.serving.models import IDENTITY, PythonModel, double_scorer, echo_scorer, scalar, signature_of

X = {"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]}
ANSWER = [{"name": "y", "datatype": "FP32", "shape": [2, 2], "data": [2, 4, 6, 8]}]


def infer(body: object, scorer: Scorer | None = None) -> Any:
    response = OipModel(scorer or double_scorer()).infer(json.dumps(body).encode(), {})
    assert (response.status, response.content_type, response.headers) == (200, "application/json", {})
    return json.loads(response.body)


def test_metadata_tells_every_tensor() -> None:
    assert json.loads(OipModel(double_scorer()).metadata()) == {
        "name": "iris",
        "versions": ["3"],
        "platform": "onnx_onnxv1",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
    }


@pytest.mark.parametrize("data", [[1, 2, 3, 4], [[1, 2], [3, 4]]])
def test_flat_and_nested_data_are_the_same(data: object) -> None:
    assert infer({"inputs": [{**X, "data": data}]}) == {"model_name": "iris", "model_version": "3", "outputs": ANSWER}


def test_the_id_is_echoed_and_unknown_members_are_let_pass() -> None:
    body = {"id": "42", "model_name": "iris", "parameters": {"a": 1}, "inputs": [{**X, "parameters": {}}]}
    assert infer({**body, "outputs": [{"name": "y"}]})["id"] == "42"


def test_wanted_outputs_are_answered_in_their_order() -> None:
    scorer = echo_scorer(scalar("a"), scalar("b"), scalar("c"))
    inputs = [{"name": name, "shape": [1], "datatype": "FP64", "data": [1]} for name in "abc"]
    answer = infer({"inputs": inputs, "outputs": [{"name": "c"}, {"name": "a"}]}, scorer)
    assert [output["name"] for output in answer["outputs"]] == ["c", "a"]


def test_texts_and_booleans_travel_as_such() -> None:
    scorer = echo_scorer(scalar("s", "BYTES"), scalar("b", "BOOL"), scalar("u", "UINT64"))
    inputs = [
        {"name": "s", "shape": [2], "datatype": "BYTES", "data": ["ü", ""]},
        {"name": "b", "shape": [2], "datatype": "BOOL", "data": [True, False]},
        {"name": "u", "shape": [2], "datatype": "UINT64", "data": [0, 2**64 - 1]},
    ]
    assert infer({"inputs": inputs}, scorer)["outputs"] == inputs


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "z"}, "unknown input 'z'"),
        ({"datatype": "FP64"}, "expected FP32"),
        ({"datatype": "float"}, "expected FP32"),
        ({"shape": [4]}, "expected [-1, 2]"),
        ({"shape": [2, 3]}, "expected [-1, 2]"),
        ({"shape": [0, 2], "data": []}, "expected [-1, 2]"),
        ({"shape": [-1, 2]}, "expected [-1, 2]"),
        ({"shape": [3, 2]}, "has 4 values"),
        ({"shape": "2,2"}, "Expected `array`"),
        ({"data": [1, 2, 3]}, "has 3 values"),
        ({"data": [[1, 2], [3]]}, "ragged"),
        ({"data": [[1, 2], 3]}, "ragged"),
        ({"data": [[1, 2, 3, 4]]}, "shape [1, 4]"),
        ({"data": [1, 2, 3, "4"]}, "must be a number"),
        ({"data": [1, 2, 3, True]}, "must be a number"),
        ({"data": [1, 2, 3, None]}, "null at 3"),
        ({"data": [1, 2, 3, {}]}, "must be a number"),
        ({"data": [1, 2, 3, 1e300]}, "does not fit"),
        ({"data": "1234"}, "not a list"),
        ({"data": None}, "no `data`"),
        ({"data": [1, 2, 3, 4], "parameters": {"binary_data_size": 16}}, "both `data` and a `binary_data_size`"),
        ({"data": None, "parameters": {"binary_data_size": 16}}, "says it has 16 bytes of binary data; 0 are left"),
        ({"data": None, "parameters": {"binary_data_size": -1}}, "not a number of bytes"),
        ({"data": None, "parameters": {"binary_data_size": True}}, "not a number of bytes"),
        ({"data": None, "parameters": {"shared_memory_region": "r"}}, "shared memory"),
    ],
)
def test_a_wrong_tensor_is_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(Problem) as caught:
        infer({"inputs": [{**X, **change}]})
    assert caught.value.status in (400, 422)
    assert words in error_text(caught.value)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], "Expected `object`"),
        ({}, "inputs"),
        ({"inputs": []}, "no inputs"),
        ({"inputs": [X, X]}, "given twice"),
        ({"inputs": [{"name": "x"}]}, "shape"),
        ({"inputs": [X], "outputs": [{"name": "z"}]}, "unknown output 'z'"),
        ({"inputs": [X], "outputs": [{"name": "y"}, {"name": "y"}]}, "asked for twice"),
        ({"inputs": [X], "outputs": [{"name": "y", "parameters": {"binary_data": "yes"}}]}, "neither true nor false"),
        ({"inputs": [X], "outputs": [{"name": "y", "parameters": {"classification": -1}}]}, "number of classes"),
        ({"inputs": [X], "outputs": [{"name": "y", "parameters": {"classification": 1.5}}]}, "number of classes"),
        ({"inputs": [X], "outputs": [{"name": "y", "parameters": {"shared_memory_region": "r"}}]}, "shared memory"),
        ({"inputs": [X], "parameters": {"binary_data_output": 1}}, "neither true nor false"),
        ({"inputs": [X], "id": 3}, "Expected `str"),
    ],
)
def test_a_wrong_request_is_refused(body: object, words: str) -> None:
    with pytest.raises(Problem) as caught:
        infer(body)
    assert caught.value.status in (400, 422)
    assert words in error_text(caught.value)


def test_a_missing_input_and_different_lengths_are_refused() -> None:
    one = {"name": "a", "shape": [1], "datatype": "FP64", "data": [1]}
    two = {"name": "b", "shape": [2], "datatype": "FP64", "data": [1, 2]}
    for inputs, words in (([one], "is missing"), ([one, two], "different numbers of records: a 1, b 2")):
        with pytest.raises(Problem) as caught:
            infer({"inputs": inputs}, echo_scorer(scalar("a"), scalar("b")))
        assert words in error_text(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_is_never_written(value: float) -> None:
    signature = signature_of((scalar("x"),), (OutputField("y", "FP32", (-1,)), OutputField("z", "FP32", (-1,))))
    columns = {"y": np.array([value], np.float32), "z": np.array([1], np.float32)}
    scorer = Scorer(signature, PythonModel(lambda _: columns), IDENTITY)
    body = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1]}]}
    with pytest.raises(Problem) as caught:
        infer(body, scorer)
    assert (caught.value.status, "'y' has NaN" in caught.value.detail) == (400, True)
    assert infer({**body, "outputs": [{"name": "z"}]}, scorer)["outputs"][0]["data"] == [1]


def test_nan_is_not_read_from_json() -> None:
    body = json.dumps({"inputs": [{**X, "data": [1, 2, 3, float("nan")]}]}).encode()
    with pytest.raises(Problem) as caught:
        OipModel(double_scorer()).infer(body, {})
    assert "JSON has no NaN or Infinity: send the tensor as binary data" in error_text(caught.value)


def test_half_precision_is_not_taken_as_json() -> None:
    body = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP16", "data": [1]}]}
    scorer = echo_scorer(InputField("x", "FP16", (-1,)))
    with pytest.raises(Problem, match="FP16"):
        infer(body, scorer)
