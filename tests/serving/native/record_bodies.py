"""Bodies of one record by chance, right or wrong, and both readings of them held against each other."""

import json
import random
from collections.abc import Iterator

import numpy as np

from serving.engines.base import Columns
from serving.native.records import RecordReader
from serving.problems import Problem
from serving.score import Scorer
from serving.signature import Batch, Datatype, InputField, OutputField
from tests.serving.models import IDENTITY, PythonModel, double, signature_of

IMAGE = (InputField("image", "FP32", (-1, 3, 4, 6)),)
MIXED: tuple[InputField, ...] = (
    InputField("é", "FP64", (-1,)),
    *(InputField(datatype, datatype, (-1, 2, 6)) for datatype in ("FP32", "BOOL", "UINT8", "INT8", "UINT64", "INT64")),
    InputField("one", "INT32", (-1, 1)),
)


def scorer_of(fields: tuple[InputField, ...], batch: Batch = "stack") -> Scorer:
    """A model with these inputs."""
    outputs = (OutputField("y", "FP32", (-1, 2)),)
    return Scorer(signature_of(fields, outputs, batch=batch), PythonModel(double), IDENTITY)


def by_python(scorer: Scorer, body: bytes) -> tuple[Columns, ...] | None:
    """The calls that Python reads from the body of one record; `None` where it is none, or wrong."""
    try:
        question, _ = scorer.question(body)
    except Problem:
        return None
    return question.calls if question.form == "record" else None


def value(chance: random.Random, datatype: Datatype) -> object:
    """One that the datatype takes."""
    if datatype == "BOOL":
        return chance.random() < 0.5
    if datatype.startswith("FP"):
        return chance.choice([chance.gauss(0, 1), round(chance.gauss(0, 9), 3), chance.randrange(-9, 9), 1e-40, 3.4e38])
    return chance.randrange(128)


def record(chance: random.Random, fields: tuple[InputField, ...]) -> dict[str, object]:
    """One with all inputs, in their order."""
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


def compare(reader: RecordReader, scorer: Scorer, seed: int) -> int:
    """Read some bodies both ways; how many the compiled way took."""
    chance, read = random.Random(seed), 0
    text = json.dumps(
        {"inputs": record(chance, scorer.signature.inputs)}, ensure_ascii=False, indent=chance.choice([None, 1, 2])
    )
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
    return read
