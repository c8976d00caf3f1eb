"""What compiled code reads of a record is what Python reads of it; of anything else it reads nothing."""

import json
import random

import pytest

from serving.native.library import Library
from serving.native.records import LEAST_VALUES, RecordReader, let_read
from serving.native.telling import Untold
from serving.native.way import QuickWay
from serving.signature import InputField, Interval, Treatment
from tests.serving.native.record_bodies import IMAGE, MIXED, by_python, compare, record, scorer_of


@pytest.mark.parametrize("fields", [IMAGE, MIXED], ids=["image", "mixed"])
def test_a_record_is_read_as_python_reads_it_right_or_wrong(library: Library, fields: tuple[InputField, ...]) -> None:
    reader, scorer = RecordReader(library, fields), scorer_of(fields)
    assert sum(compare(reader, scorer, seed) for seed in range(40)) > 100


def test_a_long_record_is_read_the_same(library: Library) -> None:
    fields = (InputField("x", "FP32", (-1, 100, 100)),)
    body = json.dumps({"inputs": record(random.Random(3), fields)}).encode()
    assert len(body) > 65_536
    found, expected = RecordReader(library, fields).read(body), by_python(scorer_of(fields), body)
    assert found is not None
    assert expected is not None
    assert found["x"].tobytes() == expected[0]["x"].tobytes()


@pytest.mark.parametrize("number", ["1e39", "-3.5e38", "NaN", "null", '"1"', "true", "1e999", "[1]", "{}"])
def test_what_is_no_number_of_the_input_is_left_to_python(library: Library, number: str) -> None:
    values = ["0.5"] * LEAST_VALUES
    values[7] = number
    body = f'{{"inputs": {{"x": [{", ".join(values)}]}}}}'.encode()
    assert RecordReader(library, (InputField("x", "FP32", (-1, LEAST_VALUES)),)).read(body) is None


def test_another_form_is_left_to_python(library: Library) -> None:
    fields = (*IMAGE, InputField("x", "FP32", (-1, 2)))
    given = record(random.Random(1), fields)
    reader, other = RecordReader(library, fields), {"x": given["x"], "image": given["image"]}
    assert reader.read(json.dumps({"inputs": given}).encode()) is not None
    for body in ({"inputs": [given]}, {"inputs": other}, {"inputs": {**given, "z": 1}}, {"tensors": given}, given):
        assert reader.read(json.dumps(body).encode()) is None
    assert reader.read(b"") is None


def strict(field: InputField) -> InputField:
    treatment = Treatment("returnInvalid")
    return InputField(field.name, field.datatype, field.shape, intervals=(Interval(0, 1),), invalid=treatment)


@pytest.mark.parametrize(
    "fields",
    [
        (InputField("x", "FP32", (-1, 3)),),
        (InputField("x", "FP32", (-1, -1, 64)),),
        (InputField("x", "FP16", (-1, 64)),),
        (*IMAGE, InputField("x", "BYTES", (-1, 64))),
        (strict(IMAGE[0]),),
    ],
    ids=["small", "free", "half", "texts", "ranges"],
)
def test_a_model_that_asks_for_more_is_pythons_alone(library: Library, fields: tuple[InputField, ...]) -> None:
    with pytest.raises(Untold):
        RecordReader(library, fields)


def test_records_are_read_so_once_the_sample_was(library: Library) -> None:
    scorer = scorer_of(IMAGE)
    QuickWay(library).read(scorer)
    body = json.dumps({"inputs": record(random.Random(2), IMAGE)}).encode()
    assert scorer.reads is not None
    question, _ = scorer.question(body)
    scorer.reads = None
    expected, _ = scorer.question(body)
    assert (question.form, question.records) == (expected.form, expected.records)
    assert question.calls[0]["image"].tobytes() == expected.calls[0]["image"].tobytes()


def test_a_model_whose_records_are_not_stacked_is_pythons_alone(library: Library) -> None:
    with pytest.raises(Untold):
        let_read(library, scorer_of(IMAGE, "loop"))
