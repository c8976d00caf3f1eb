"""Names for the places of a vector input: in records and tables, beside the raw input, and in what is refused."""

from collections.abc import Mapping

import pytest

from serving.engines.base import InvalidModel
from serving.engines.onnx_features import with_features
from serving.features import UnfitFeatures, check_features
from serving.problems import Problem
from serving.signature import InputField, Signature
from serving.validate import Question, Validator
from tests.serving.models import scalar, signature_of

NAMED = InputField("flower", "FP32", (-1, 3), features=("length", "width", "height"))
JOB = InputField("job", "BYTES", (-1,))
BOTH = {"length": 1, "width": 2, "height": 3, "job": "clerk"}


def ask(body: object, *fields: InputField) -> Question:
    return Validator(signature_of(fields or (NAMED, JOB))).question(body)


def refused(body: object, *fields: InputField) -> list[tuple[str, str]]:
    with pytest.raises(Problem) as caught:
        ask(body, *fields)
    assert (caught.value.status, caught.value.code) == (422, "invalid_input")
    return [(error.pointer, error.detail) for error in caught.value.errors]


def vectors(question: Question) -> object:
    (call,) = question.calls
    return call["flower"].tolist()


def test_a_record_may_name_the_places_of_a_vector() -> None:
    question = ask({"inputs": BOTH})
    assert (question.form, vectors(question)) == ("record", [[1, 2, 3]])


def test_records_may_name_places_or_the_raw_input_each_as_it_likes() -> None:
    raw = {"flower": [4, 5, 6], "job": "nurse"}
    assert vectors(ask({"inputs": [BOTH, BOTH]})) == [[1, 2, 3], [1, 2, 3]]
    assert vectors(ask({"inputs": [raw]})) == [[4, 5, 6]]
    assert vectors(ask({"inputs": [BOTH, raw]})) == [[1, 2, 3], [4, 5, 6]]


def test_a_table_may_name_places_in_any_order() -> None:
    table = {"columns": ["height", "job", "length", "width"], "data": [[3, "clerk", 1, 2], [6, "nurse", 4, 5]]}
    question = ask(table)
    assert vectors(question) == [[1, 2, 3], [4, 5, 6]]
    assert question.calls[0]["job"].tolist() == ["clerk", "nurse"]


def test_a_bad_place_is_pointed_to_by_its_own_name() -> None:
    bad = {**BOTH, "width": "wide"}
    assert refused({"inputs": bad})[0][0] == "/inputs/width"
    assert refused({"inputs": [BOTH, bad]})[0][0] == "/inputs/1/width"
    table = {"columns": ["height", "job", "length", "width"], "data": [[3, "clerk", 1, 2], [6, "nurse", None, 5]]}
    assert refused(table)[0][0] == "/data/1/2"


def test_a_bad_place_of_a_raw_vector_is_pointed_to_by_its_index() -> None:
    assert refused({"inputs": [BOTH, {"flower": [1, "x", 3], "job": "clerk"}]})[0][0] == "/inputs/1/flower/1"


def test_what_is_missing_is_named_by_its_place() -> None:
    found = refused({"inputs": {"length": 1, "job": "clerk"}})
    assert [pointer for pointer, _ in found] == ["/inputs/width", "/inputs/height"]
    (entry,) = refused({"inputs": {"job": "clerk"}})
    assert entry[0] == "/inputs/flower"
    (entry,) = refused({"columns": ["length", "width", "job"], "data": [[1, 2, "clerk"]]})
    assert entry == ("/columns", "lacks the input 'height'")


def test_a_vector_is_not_told_twice() -> None:
    (entry,) = refused({"inputs": {**BOTH, "flower": [1, 2, 3]}})
    assert entry == ("/inputs/flower", "is given as a whole and by its features")
    found = refused({"columns": ["flower", "length", "job"], "data": [[[1, 2, 3], 1, "clerk"]]})
    assert found[0][0] == "/columns/1"


def test_a_name_that_is_nearly_right_is_told_the_right_one() -> None:
    with pytest.raises(Problem) as caught:
        ask({"inputs": {**BOTH, "lenght": 1}})
    assert caught.value.errors[0].hint == "did you mean 'length'?"


def test_a_looped_model_points_to_the_record_that_is_wrong() -> None:
    field = InputField("flower", "FP32", (1, 2), features=("length", "width"))
    validator = Validator(signature_of((field,), batch="loop"))
    assert len(validator.question({"inputs": [{"length": 1, "width": 2}] * 2}).calls) == 2
    with pytest.raises(Problem) as caught:
        validator.question({"inputs": [{"length": 1, "width": 2}, {"length": 1, "width": None}]})
    assert caught.value.errors[0].pointer == "/inputs/1/width"


def test_columns_that_are_not_the_features_do_not_fill_the_vector_by_position() -> None:
    assert refused({"columns": ["a", "b", "c"], "data": [[1, 2, 3]]}, NAMED)[0][0] == "/columns/0"


@pytest.mark.parametrize(
    ("features", "why"),
    [
        ({"flowers": ("a", "b", "c")}, "'flowers' is not an input of this model"),
        ({"age": ("a",)}, "the input 'age' is not a vector"),
        ({"flower": ("a", "b")}, "2 names are given for the input 'flower', which has 3 places"),
        ({"flower": ("a", "b", "a")}, "the name 'a' is empty, given twice, or that of an input"),
        ({"flower": ("a", "", "c")}, "the name '' is empty"),
        ({"flower": ("a", "b", "age")}, "the name 'age' is empty, given twice, or that of an input"),
        ({"flower": ("a", "b", "c"), "free": ("c",)}, "the name 'c' is empty, given twice"),
    ],
)
def test_names_that_do_not_fit_are_refused(features: Mapping[str, tuple[str, ...]], why: str) -> None:
    signature = signature_of(
        (InputField("flower", "FP32", (-1, 3)), scalar("age"), InputField("free", "FP32", (-1, -1)))
    )
    with pytest.raises(UnfitFeatures, match=why.replace("(", r"\(")):
        check_features(features, signature)


def test_a_free_vector_takes_as_many_names_as_are_given() -> None:
    check_features({"free": ("a", "b")}, signature_of((InputField("free", "FP32", (-1, -1)),)))


def described(written: str) -> Signature:
    signature = signature_of((InputField("flower", "FP32", (-1, 2)), scalar("age")))
    return with_features(signature, written)


def test_an_onnx_file_may_name_them_in_its_metadata() -> None:
    found = described('{"flower": ["length", "width"]}')
    assert [field.features for field in found.inputs] == [("length", "width"), None]


@pytest.mark.parametrize("written", ["", "[]", '{"flower": "length"}', '{"flower": ["length"]}', '{"stone": []}'])
def test_metadata_that_names_them_wrongly_makes_the_file_invalid(written: str) -> None:
    with pytest.raises(InvalidModel) as caught:
        described(written)
    assert caught.value.code == "onnx_invalid_metadata"
