"""Infer requests without a transport: what reaches the engine, what is refused, and how outputs are told."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.problems import Problem
from serving.protocols.tensors import Given, Tensor, TensorModel, Wanted
from serving.score import Scorer
from serving.signature import Datatype, InputField, Interval, OutputField, Treatment
from tests.serving.models import IDENTITY, PythonModel, double_scorer, echo_scorer, scalar, signature_of

FLOATS = np.array([[1, np.nan]], np.float32)


def echoed(field: InputField, given: Given) -> Tensor:
    (told,) = TensorModel(echo_scorer(field)).infer([given], [])
    return told


def refusal(model: TensorModel, *given: Given, wanted: tuple[Wanted, ...] = ()) -> str:
    with pytest.raises(Problem) as caught:
        model.infer(given, wanted)
    assert caught.value.status in (400, 422)
    hints = [caught.value.hint, *(error.hint for error in caught.value.errors)]
    return "; ".join([caught.value.detail, *hints])


def telling(field: OutputField, column: NDArray[np.generic]) -> TensorModel:
    signature = signature_of((scalar("x"),), (field,))
    return TensorModel(Scorer(signature, PythonModel(lambda _: {field.name: column}), IDENTITY))


@pytest.mark.parametrize("data", [FLOATS, FLOATS.tobytes(), memoryview(FLOATS.tobytes())])
def test_arrays_and_bytes_are_the_same(data: NDArray[np.generic] | bytes | memoryview) -> None:
    (told,) = TensorModel(double_scorer()).infer([Given("x", "FP32", (1, 2), data)], [])
    assert np.array_equal(told.array, [[2, np.nan]], equal_nan=True)
    assert bytes(told.raw()) == (FLOATS * 2).tobytes()


def test_a_tensor_of_the_right_kind_reaches_the_engine_as_it_came() -> None:
    scorer = double_scorer()
    raw = FLOATS.tobytes()
    columns = TensorModel(scorer).columns([Given("x", "FP32", (1, 2), memoryview(raw))])
    assert np.shares_memory(columns["x"], np.frombuffer(raw, np.uint8))


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_half_precision_travels_as_bytes_only(datatype: Datatype) -> None:
    field, raw = InputField("x", datatype, (-1,)), b"\x00\x3c\x01\x3c"
    told = echoed(field, Given("x", datatype, (2,), raw))
    assert bytes(told.raw()) == raw
    with pytest.raises(Problem, match=f"{datatype}, which JSON does not carry"):
        told.values()
    assert "send it as binary data" in refusal(TensorModel(echo_scorer(field)), Given("x", datatype, (1,), [1.0]))


def test_small_integers_may_come_in_large_ones() -> None:
    field = scalar("x", "INT8")
    assert echoed(field, Given("x", "INT8", (2,), np.array([-128, 127], np.int32))).array.dtype == np.int8
    model = TensorModel(echo_scorer(field))
    assert "does not fit into INT8" in refusal(model, Given("x", "INT8", (1,), np.array([128], np.int32)))
    assert "values of float64" in refusal(model, Given("x", "INT8", (1,), np.array([1.0])))
    assert "has 2 values" in refusal(model, Given("x", "INT8", (1,), np.array([1, 2], np.int8)))


@pytest.mark.parametrize("data", [["ü", ""], ["ü".encode(), b""], b"\2\0\0\0\xc3\xbc\0\0\0\0"])
def test_texts_may_come_as_such_or_as_bytes(data: list[object] | bytes) -> None:
    told = echoed(scalar("x", "BYTES"), Given("x", "BYTES", (2,), data))
    assert told.values() == ["ü", ""]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (Given("z", "FP32", (1, 2), b""), "unknown input 'z'; this model takes: x"),
        (Given("xx", "FP32", (1, 2), b""), "did you mean 'x'?"),
        (Given("x", "FP64", (1, 2), bytes(16)), "the datatype 'FP64'; expected FP32"),
        (Given("x", "FP32", (2,), bytes(8)), "the shape [2]; expected [-1, 2]"),
        (Given("x", "FP32", (-1, 2), bytes(8)), "the shape [-1, 2]; expected [-1, 2]"),
        (Given("x", "FP32", (0, 2), b""), "the shape [0, 2]; expected [-1, 2]"),
        (Given("x", "FP32", (2**63, 2), b""), "the shape [more than 2^63, 2]; expected [-1, 2]"),
        (
            Given("x", "FP32", (2**62, 2), b""),
            "has 0 bytes; FP32 of the shape [4611686018427387904, 2] is 36893488147419103232",
        ),
        (Given("x", "FP32", (2, 2), bytes(15)), "has 15 bytes; FP32 of the shape [2, 2] is 16 bytes"),
        (Given("x", "FP32", (1, 2), [1.0, None]), "a null at 1"),
        (Given("x", "FP32", (1, 2), [1.0, b"a"]), "must be a number"),
        (Given("x", "FP32", (1, 2), [1.0]), "has 1 values; its shape [1, 2] has 2"),
    ],
)
def test_a_wrong_tensor_is_refused_with_what_is_expected(given: Given, words: str) -> None:
    assert words in refusal(TensorModel(double_scorer()), given)


def test_a_request_is_whole() -> None:
    model = TensorModel(echo_scorer(scalar("a"), scalar("b")))
    one, two = Given("a", "FP64", (1,), bytes(8)), Given("b", "FP64", (2,), bytes(16))
    assert "given twice" in refusal(model, one, one)
    assert "no inputs; this model takes: a, b" in refusal(model)
    assert "/inputs/b: is missing" in refusal(model, one)
    assert "different numbers of records: a 1, b 2" in refusal(model, one, two)


def test_wanted_outputs_exist_and_are_wanted_once() -> None:
    model = TensorModel(echo_scorer(scalar("a"), scalar("b", "BYTES")))
    given = Given("a", "FP64", (1,), bytes(8)), Given("b", "BYTES", (1,), ["t"])
    assert [each.name for each in model.infer(given, [Wanted("b"), Wanted("a")])] == ["b", "a"]
    assert "unknown output 'c'; this model answers: a, b" in refusal(model, *given, wanted=(Wanted("c"),))
    assert "asked for twice" in refusal(model, *given, wanted=(Wanted("a"), Wanted("a")))
    assert "cannot be ranked" in refusal(model, *given, wanted=(Wanted("b", classes=1),))
    assert "asked for -1 classes" in refusal(model, *given, wanted=(Wanted("a", classes=-1),))


MINED = InputField(
    "x", "FP64", (-1,), intervals=(Interval(0, 1, max_inclusive=False),), invalid=Treatment("returnInvalid")
)


@pytest.mark.parametrize(
    ("field", "values", "words"),
    [
        (MINED, [0, 0.5, 0.99], ""),
        (MINED, [0.5, 1], "/x/1: is 1.0, which is outside"),
        (MINED, [0.5, np.nan], "/x/1: is NaN, which stands for a missing value"),
        (replace(MINED, nullable=True), [0.5, np.nan], ""),
        (replace(MINED, intervals=None, values=(1.0, 2.0)), [2, 1, 3], "/x/2: is 3.0, which is not one of"),
        (replace(MINED, invalid=Treatment("asIs")), [7], ""),
        (replace(MINED, invalid=None), [7, np.nan, np.inf], ""),
    ],
)
def test_bytes_stay_within_the_domain_of_a_mining_schema(field: InputField, values: list[float], words: str) -> None:
    model, given = TensorModel(echo_scorer(field)), Given("x", "FP64", (len(values),), np.array(values, np.float64))
    if not words:
        assert model.infer([given], [])
        return
    assert words in refusal(model, given)


def test_a_domain_is_compared_in_the_datatype_of_its_field() -> None:
    field = InputField("x", "FP32", (-1,), values=(0.1, 0.2), invalid=Treatment("returnInvalid"))
    model = TensorModel(echo_scorer(field))
    assert model.infer([Given("x", "FP32", (2,), np.array([0.1, 0.2], np.float32))], [])
    many = np.array([0.1] * 50 + [0.3] * 50, np.float32)
    assert "/x/50: is 0.3" in refusal(model, Given("x", "FP32", (100,), many))
    whole = replace(field, datatype="UINT8", values=(1, 2), intervals=(Interval(2, 300),))
    model = TensorModel(echo_scorer(whole))
    assert model.infer([Given("x", "UINT8", (1,), b"\2")], [])
    assert "/x/0: is 1, which is outside" in refusal(model, Given("x", "UINT8", (1,), b"\1"))


def test_texts_stay_within_the_domain_of_a_mining_schema() -> None:
    field = replace(scalar("x", "BYTES"), values=("red", "blue"), invalid=Treatment("returnInvalid"))
    model = TensorModel(echo_scorer(field))
    assert "did you mean 'red'?" in refusal(model, Given("x", "BYTES", (1,), b"\3\0\0\0rad"))


def test_the_best_classes_are_told_with_their_scores_and_labels() -> None:
    field = OutputField("p", "FP32", (-1, 3), "probability", labels=("setosa", 2, True))
    scores = np.array([[0.25, 0.5, 0.25], [np.nan, 0, 1]], np.float32)
    given = Given("x", "FP64", (2,), bytes(16))
    (told,) = telling(field, scores).infer([given], [Wanted("p", classes=2)])
    assert (told.datatype, told.array.shape) == ("BYTES", (2, 2))
    assert told.array.tolist() == [["0.500000:1:2", "0.250000:0:setosa"], ["1.000000:2:true", "0.000000:1:2"]]


def test_more_classes_than_there_are_scores_are_all_and_numbers_without_labels_stay_so() -> None:
    given = Given("x", "FP64", (1,), bytes(8))
    model = telling(OutputField("p", "UINT8", (-1, 3)), np.array([[0, 255, 255]], np.uint8))
    (told,) = model.infer([given], [Wanted("p", classes=2**70)])
    assert told.array.tolist() == [["255:1", "255:2", "0:0"]]


def test_missing_values_are_in_no_tensor() -> None:
    model = telling(OutputField("t", "BYTES", (-1,)), np.array(["a", None], np.object_))
    assert "missing values" in refusal(model, Given("x", "FP64", (2,), bytes(16)))


def test_what_json_cannot_carry_is_told_as_bytes() -> None:
    model = telling(OutputField("y", "FP64", (-1,)), np.array([np.inf]))
    (told,) = model.infer([Given("x", "FP64", (1,), bytes(8))], [])
    assert bytes(told.raw()) == np.array([np.inf]).tobytes()
    with pytest.raises(Problem, match="NaN or infinite"):
        told.values()
