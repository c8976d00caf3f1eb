"""Names for the places of vectors: which hold, which do not fit, and the sample under them."""

from collections.abc import Mapping

import pytest

from state.features import effective_features, features_fault, named_sample, with_features

FLOWER = {"name": "flower", "datatype": "FP32", "shape": [-1, 2], "features": ["a", "b"]}
AGE = {"name": "age", "datatype": "FP64", "shape": [-1]}
FREE = {"name": "free", "datatype": "FP32", "shape": [-1, -1]}
SIGNATURE = {"batch": "stack", "inputs": [FLOWER, AGE, FREE], "sample": {"flower": [1, 2], "age": 3, "free": [4]}}


def test_what_the_owner_says_comes_before_what_the_file_says() -> None:
    assert effective_features(SIGNATURE, None) == {"flower": ["a", "b"]}
    assert effective_features(SIGNATURE, {"free": ["x"]}) == {"free": ["x"]}
    assert effective_features(SIGNATURE, {}) == {}
    assert effective_features({}, None) is None


def test_a_model_server_is_given_the_names_that_hold() -> None:
    given = with_features(SIGNATURE, {"free": ["x"]})
    assert given["inputs"] == [{**FLOWER, "features": None}, {**AGE, "features": None}, {**FREE, "features": ["x"]}]
    assert with_features(SIGNATURE, None) == SIGNATURE
    assert FLOWER["features"] == ["a", "b"]


def test_the_sample_uses_the_names_that_hold() -> None:
    assert named_sample(SIGNATURE, None) == {"a": 1, "b": 2, "age": 3, "free": [4]}
    assert named_sample(SIGNATURE, {"free": ["x", "y"]}) == SIGNATURE["sample"]
    one = {"inputs": [{"name": "v", "shape": [-1, 1]}], "sample": {"v": 7}}
    assert named_sample(one, {"v": ["x"]}) == {"x": 7}
    assert named_sample({}, {"free": ["x"]}) is None


@pytest.mark.parametrize(
    ("features", "pointer"),
    [
        ({"flower": ["a"]}, "/features/flower"),
        ({"age": ["a"]}, "/features/age"),
        ({"fl/ower": ["a"]}, "/features/fl~1ower"),
        ({"flower": ["a", "age"]}, "/features/flower/1"),
        ({"flower": ["a", "b"], "free": ["b"]}, "/features/free/0"),
    ],
)
def test_names_that_do_not_fit_are_pointed_to(features: Mapping[str, list[str]], pointer: str) -> None:
    fault = features_fault(SIGNATURE, features)
    assert fault is not None
    assert fault.pointer == pointer
    assert fault.hint


def test_names_that_fit_are_let_pass() -> None:
    assert features_fault(SIGNATURE, {"flower": ["x", "y"], "free": ["a", "b", "c"]}) is None
    assert features_fault({"batch": "none", "inputs": [{"name": "v", "shape": [2]}]}, {"v": ["x", "y"]}) is None
