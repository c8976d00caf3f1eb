"""The quick way of a large table of numbers: it answers the same as the general one, or leaves it to that."""

import json
import random
from typing import Any

import pytest

from serving.json_table import SMALLEST_BYTES, question_of
from serving.json_text import parse
from serving.problems import Problem
from serving.signature import InputField
from serving.validate import Validator
from tests.serving.arrow.streams import is_same
from tests.serving.models import scalar, signature_of

VECTOR = InputField("x", "FP32", (-1, 2))
FLOWER = InputField("flower", "FP32", (-1, 2), features=("length", "width"))
NULLABLE = InputField("age", "FP64", (-1,), nullable=True)
ROWS = [[random.Random(at).uniform(-1e3, 1e3), at] for at in range(200)]


def body(columns: list[str], data: Any, **more: object) -> bytes:
    return json.dumps({"columns": columns, "data": data, **more}).encode()


@pytest.mark.parametrize(
    ("fields", "columns"),
    [
        ((VECTOR,), ["a", "b"]),
        ((FLOWER,), ["width", "length"]),
        ((NULLABLE, scalar("x", "FP32")), ["x", "age"]),
        ((scalar("x"), InputField("y", "FP32", (-1, 1))), ["x", "y"]),
    ],
)
def test_plain_numbers_are_the_same_question_either_way(fields: tuple[InputField, ...], columns: list[str]) -> None:
    validator = Validator(signature_of(fields))
    given = body(columns, ROWS)
    quick, general = question_of(validator, given), validator.question(parse(given))
    assert quick is not None
    assert (quick.form, quick.records, len(quick.calls)) == ("table", 200, len(general.calls))
    assert all(is_same(quick.calls[0][name], column) for name, column in general.calls[0].items())


@pytest.mark.parametrize(
    ("fields", "given"),
    [
        ((VECTOR,), body(["a", "b"], [[1, 2]])),
        ((VECTOR,), body(["a", "b"], [*ROWS, [1]])),
        ((VECTOR,), body(["a", "b"], [*ROWS, [1, "2"]])),
        ((VECTOR,), body(["a", "b"], [*ROWS, [1, 1e39]])),
        ((VECTOR,), body(["a", "b"], ROWS, index=[1])),
        ((VECTOR,), body(["a", "b", "c"], ROWS)),
        ((VECTOR,), body(["a", "b"], [[]] * SMALLEST_BYTES)),
        ((VECTOR,), body(["a", "b"], ROWS)[:-9]),
        ((scalar("x"), scalar("n", "INT64")), body(["x", "n"], ROWS)),
        ((NULLABLE, scalar("x")), body(["age", "x"], [*ROWS, [None, 1]])),
    ],
)
def test_what_is_anything_else_is_left_to_the_general_way(fields: tuple[InputField, ...], given: bytes) -> None:
    assert question_of(Validator(signature_of(fields)), given) is None


def test_an_error_is_told_in_the_words_and_places_of_the_general_way() -> None:
    validator = Validator(signature_of((VECTOR,)))
    given = body(["a", "b"], [*ROWS, [1, 1e39]])
    assert question_of(validator, given) is None
    with pytest.raises(Problem) as caught:
        validator.question(parse(given))
    assert caught.value.errors[0].pointer == "/data/200/1"
