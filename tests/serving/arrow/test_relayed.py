"""A stream laid out like an earlier one is answered without a look at its values, where none could be wrong."""

import math
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pytest

from serving.answering import answer, relayed
from serving.media import ARROW
from serving.messages import Request
from serving.problems import Problem
from serving.score import Identity, Scorer
from serving.signature import Format, InputField, Interval, OutputField, Treatment
from tests.serving.arrow.streams import stream
from tests.serving.models import IDENTITY, PythonModel, echo, echo_scorer, signature_of

DICE = np.random.default_rng(11)
HEADERS = {b"content-type": ARROW.encode(), b"accept": ARROW.encode()}
REFUSES = Treatment("returnInvalid")


def asked(scorer: Scorer, body: bytes, headers: Mapping[bytes, bytes] = HEADERS, target: bytes = b"/predict") -> bytes:
    return answer(scorer, Request(b"POST", target, headers, body)).body


def of_format(file_format: Format, *inputs: InputField) -> Scorer:
    outputs = tuple(OutputField(field.name, field.datatype, field.shape) for field in inputs)
    return Scorer(signature_of(inputs, outputs, file_format=file_format), PythonModel(echo), IDENTITY)


def column(numbers: object, kind: pa.DataType) -> bytes:
    return stream(pa.table({"x": pa.array(numbers, kind)}))


@pytest.mark.parametrize("file_format", ["onnx", "pmml"])
@pytest.mark.parametrize(("datatype", "kind"), [("FP32", pa.float32()), ("FP64", pa.float64()), ("INT64", pa.int64())])
def test_answers_are_those_of_the_general_way(file_format: Format, datatype: str, kind: pa.DataType) -> None:
    field = InputField("x", datatype, (-1,))  # type: ignore[arg-type]  # of the list above
    used = of_format(file_format, field)
    for rows in (1, 3, 1000, 3):
        body = column(DICE.integers(-99, 99, rows), kind)
        first = asked(used, body)
        short = relayed(used, body)
        assert first == asked(used, body) == asked(of_format(file_format, field), body)
        # NaN is a missing value in PMML, so each value must be looked at.
        assert (short is None) == (file_format == "pmml" and datatype != "INT64")
        assert short is None or short.body == first


def test_the_model_is_given_the_bodys_own_memory() -> None:
    scorer = echo_scorer(InputField("x", "FP32", (-1, 3)), InputField("n", "INT64", (-1,)))
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(DICE.normal(size=12).astype(np.float32)), 3)
    body = stream(pa.table({"n": [1, 2, 3, 4], "x": vectors}))  # in another order than the inputs
    asked(scorer, body)
    assert relayed(scorer, body) is not None
    given = scorer.loaded.asked[-1]  # type: ignore[attr-defined]  # a model of ours
    assert {name: array.shape for name, array in given.items()} == {"x": (4, 3), "n": (4,)}
    assert all(np.shares_memory(array, np.frombuffer(body, np.uint8)) for array in given.values())


def test_nan_and_infinity_reach_a_tensor_as_they_are() -> None:
    scorer = echo_scorer(InputField("x", "FP32", (-1,)))
    asked(scorer, column([1, 2, 3], pa.float32()))
    body = column([math.nan, math.inf, -0.0], pa.float32())
    told = relayed(scorer, body)
    assert told is not None
    assert told.body == asked(echo_scorer(InputField("x", "FP32", (-1,))), body)


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        (InputField("x", "FP32", (-1,)), pa.int32()),
        (InputField("x", "FP32", (-1,)), pa.float64()),
        (InputField("x", "FP64", (-1,)), pa.float32()),
        (InputField("x", "INT32", (-1,)), pa.int64()),
        (InputField("x", "FP64", (-1,), intervals=(Interval(0, 9),), invalid=REFUSES), pa.float64()),
        (InputField("x", "INT64", (-1,), values=(1, 2, 3), invalid=REFUSES), pa.int64()),
        (InputField("x", "FP64", (-1, 1)), pa.float64()),
    ],
)
def test_what_is_converted_or_has_a_domain_is_looked_at_each_time(field: InputField, kind: pa.DataType) -> None:
    scorer = echo_scorer(field)
    body = column([1, 2, 3], kind)
    assert asked(scorer, body) == asked(scorer, body)
    assert relayed(scorer, body) is None


def test_a_value_beyond_its_domain_is_refused_after_a_right_one() -> None:
    scorer = echo_scorer(InputField("x", "FP64", (-1,), intervals=(Interval(0, 9),), invalid=REFUSES))
    asked(scorer, column([1, 2], pa.float64()))
    with pytest.raises(Problem, match="outside the allowed range"):
        asked(scorer, column([1, 10], pa.float64()))


def test_an_input_that_may_be_left_out_is_relayed_where_it_is_there() -> None:
    inputs = (InputField("x", "FP32", (-1,)), InputField("y", "FP32", (-1,), required=False))
    scorer = Scorer(signature_of(inputs, (OutputField("x", "FP32", (-1,)),)), PythonModel(echo), IDENTITY)
    without = column([1, 2], pa.float32())
    both = stream(pa.table({"x": pa.array([1, 2], pa.float32()), "y": pa.array([3, 4], pa.float32())}))
    for body in (without, both):
        asked(scorer, body)
    assert relayed(scorer, without) is None
    assert relayed(scorer, both) is not None


def test_who_asks_for_another_kind_or_for_single_faults_is_answered_so() -> None:
    scorer = echo_scorer(InputField("x", "FP32", (-1,)))
    body = column([1, 2], pa.float32())
    arrow = asked(scorer, body)
    for accept in (b"text/csv", b"application/json", b"application/x-ndjson"):
        assert asked(scorer, body, {**HEADERS, b"accept": accept})[:4] != arrow[:4]
    assert asked(scorer, body, {b"content-type": ARROW.encode()}) == arrow
    assert asked(scorer, body, target=b"/predict?on_error=record") == arrow
    with pytest.raises(Problem, match="binary tensors"):
        asked(scorer, body, {**HEADERS, b"inference-header-content-length": b"10"})


def test_each_model_tells_its_own_name() -> None:
    field = InputField("x", "FP32", (-1,))
    body = column([1, 2], pa.float32())
    other = Scorer(
        signature_of((field,), (OutputField("x", "FP32", (-1,)),)),
        PythonModel(echo),
        Identity("wine", "wine", "wine", "1"),
    )
    for scorer in (echo_scorer(field), other):
        asked(scorer, body)
        with pa.ipc.open_stream(asked(scorer, body)) as told:
            assert told.schema.metadata[b"portside.model"].decode() == scorer.identity.model


def bitten(body: bytes) -> bytes:
    """A body with some of its bytes changed, cut off or added."""
    found, way = bytearray(body), DICE.integers(5)
    if way < 3:  # mostly where it says what it is
        for at in DICE.integers(0, len(found) if way else 400, DICE.integers(1, 4)):
            found[at] = DICE.integers(256)
    elif way == 3:
        del found[-int(DICE.integers(1, 60)) :]
    else:
        found += DICE.bytes(int(DICE.integers(1, 20)))
    return bytes(found)


def outcome(scorer: Scorer, body: bytes) -> bytes | str:
    try:
        return asked(scorer, body)
    except Problem as problem:
        return f"{problem.code} {problem.detail}"


def test_streams_that_are_broken_in_any_way_are_answered_as_if_none_like_them_had_come() -> None:
    fields = (InputField("x", "FP32", (-1, 2)), InputField("n", "INT64", (-1,)))
    used, short = echo_scorer(*fields), 0
    for _ in range(300):
        rows = int(DICE.integers(1, 5))
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(DICE.normal(size=2 * rows).astype(np.float32)), 2)
        body = stream(pa.table({"x": vectors, "n": DICE.integers(-9, 9, rows)}))
        for each in (body, bitten(body)):
            told = outcome(used, each)
            assert told == outcome(echo_scorer(*fields), each)
            short += relayed(used, each) is not None
    assert short > 300
