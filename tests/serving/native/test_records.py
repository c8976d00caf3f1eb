"""What compiled code reads of a record is what Python reads of it; of anything else it reads nothing."""

import json
import random
from collections.abc import Iterator

import numpy as np
import pytest

from serving.engines.base import Columns
from serving.native.library import Library
from serving.native.records import LEAST_VALUES, RecordReader, let_read
from serving.native.telling import Untold
from serving.native.way import QuickWay
from serving.problems import Problem
from serving.score import Scorer
from serving.signature import Batch, Datatype, InputField, Interval, OutputField, Treatment
from tests.serving.models import IDENTITY, PythonModel, double, signature_of

IMAGE = (InputField("image", "FP32", (-1, 3, 4, 6)),)
MIXED: tuple[InputField, ...] = (
    InputField("é", "FP64", (-1,)),
    *(InputField(datatype, datatype, (-1, 2, 6)) for datatype in ("FP32", "BOOL", "UINT8", "INT8", "UINT64", "INT64")),
    InputField("one", "INT32", (-1, 1)),
)


def scorer_of(fields: tuple[InputField, ...], batch: Batch = "stack") -> Scorer:
    outputs = (OutputField("y", "FP32", (-1, 2)),)
    return Scorer(signature_of(fields, outputs, batch=batch), PythonModel(double), IDENTITY)


def by_python(scorer: Scorer, body: bytes) -> tuple[Columns, ...] | None:
    try:
        question, _ = scorer.question(body)
    except Problem:
        return None
    return question.calls if question.form == "record" else None


def value(chance: random.Random, datatype: Datatype) -> object:
    if datatype == "BOOL":
        return chance.random() < 0.5
    if datatype.startswith("FP"):
        return chance.choice([chance.gauss(0, 1), round(chance.gauss(0, 9), 3), chance.randrange(-9, 9), 1e-40, 3.4e38])
    return chance.randrange(128)


def record(chance: random.Random, fields: tuple[InputField, ...]) -> dict[str, object]:
    found: dict[str, object] = {}
    for field in fields:
        size = int(np.prod(field.shape[1:]))
        values = np.array([value(chance, field.datatype) for _ in range(size)], np.object_)
        found[field.name] = values.reshape(field.shape[1:]).tolist()
    return found


def bitten(chance: random.Random, body: bytes) -> Iterator[bytes]:
    """The body changed in one place, and cut."""
    at = chance.randrange(len(body))
    yield body[:at]
    yield body + body[:at]
    for sign in b'0-.e,[]{}" \x00tn9':
        yield body[:at] + bytes([sign]) + body[at + chance.randrange(2) :]
    yield body[:at] + body[at + 1 :]


@pytest.mark.parametrize("fields", [IMAGE, MIXED], ids=["image", "mixed"])
def test_a_record_is_read_as_python_reads_it_right_or_wrong(library: Library, fields: tuple[InputField, ...]) -> None:
    scorer, reader, chance, read = scorer_of(fields), RecordReader(library, fields), random.Random(4), 0
    for number in range(40):
        text = json.dumps({"inputs": record(chance, fields)}, ensure_ascii=False, indent=number % 3 or None)
        body = text.encode()
        assert reader.read(body) is not None, text
        for each in (body, *bitten(chance, body)):
            found = reader.read(each)
            if found is None:
                continue
            read += 1
            (expected,) = by_python(scorer, each) or ({},)
            assert list(found) == list(expected), each
            for name, column in expected.items():
                assert (found[name].dtype, found[name].shape) == (column.dtype, column.shape)
                assert found[name].tobytes() == column.tobytes(), each
    assert read > 100


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
