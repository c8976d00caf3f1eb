"""Samples made from a signature alone: they are always what the signature allows."""

from dataclasses import replace

import numpy as np
import pytest

from serving.engines.base import Columns, InvalidModel, PredictionRefused
from serving.loading import Described, prove
from serving.sample import candidate_samples
from serving.signature import Batch, InputField, Interval, OutputField, Treatment
from serving.validate import Validator
from tests.serving.models import IDENTITY, PythonModel, scalar, signature_of

REFUSES = Treatment("returnInvalid")
FIELDS = [
    *(scalar("x", datatype) for datatype in ("BOOL", "UINT8", "INT64", "FP16", "FP32", "FP64", "BYTES")),
    InputField("x", "FP32", (-1, 3, 2)),
    InputField("x", "FP32", (-1, 1)),
    InputField("x", "BYTES", (-1,), values=("b", "a"), invalid=REFUSES),
    *(InputField("x", "BYTES", (-1,), logical_type=kind) for kind in ("date", "dateTime", "time")),
    *(
        InputField("x", datatype, (-1,), intervals=(interval,), invalid=REFUSES)
        for datatype in ("FP64", "INT32")
        for interval in (
            Interval(5, 7),
            Interval(None, -3, True, False),
            Interval(3, None, False),
            Interval(0, 1, False),
        )
    ),
]


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: f"{field.datatype}-{field.shape}-{field.intervals}")
def test_a_sample_is_what_the_signature_allows(field: InputField) -> None:
    signature = signature_of((field,))
    (sample,) = candidate_samples(signature)
    assert Validator(signature).question({"inputs": sample}).records == 1


@pytest.mark.parametrize(("batch", "shape"), [("loop", (1, 2)), ("none", (2,)), ("stack", (-1, 2))])
def test_a_sample_has_a_records_shape(batch: Batch, shape: tuple[int, ...]) -> None:
    (sample,) = candidate_samples(signature_of((InputField("x", "FP32", shape),), batch=batch))
    assert sample == {"x": [1, 1]}


def picky(side: int) -> PythonModel:
    """A model that takes images from this size on."""

    def predict(columns: Columns) -> Columns:
        if columns["x"].shape[1] < side:
            raise PredictionRefused(f"the image is smaller than {side}")
        return {"y": np.array([np.nan])}

    return PythonModel(predict)


IMAGE = signature_of((InputField("x", "FP32", (-1, -1, -1)),), (OutputField("y", "FP64", (-1,)),))


def test_free_dimensions_grow_until_the_model_answers() -> None:
    signature = prove(Described(IMAGE, picky(10)), IDENTITY)
    assert np.array(signature.sample and signature.sample["x"]).shape == (32, 32)
    assert signature.sample_output == {"y": None}


def test_the_models_own_sample_comes_first() -> None:
    own = {"x": [[1.0] * 300] * 300}
    assert prove(Described(replace(IMAGE, sample=own), picky(300)), IDENTITY).sample == own


def test_a_model_that_answers_no_sample_is_invalid_in_its_own_words() -> None:
    with pytest.raises(InvalidModel, match="the image is smaller than 1000") as caught:
        prove(Described(IMAGE, picky(1000)), IDENTITY)
    assert caught.value.code == "sample_failed"
