"""How many records are run together is found by trying, and a model that minds is left alone."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.convolution import convolution_model
from serving.batch_trial import plan_batches, plan_for
from serving.batcher import Plan
from serving.cores import usable_cores
from serving.engines.base import Columns, PredictionRefused
from serving.loading import Loaded, load_scorer
from serving.parts.loading import LoadedParts
from serving.score import Scorer
from serving.signature import Batch, InputField, OutputField
from serving.tickets import Ticket
from serving.tuning import UNTUNED, Tuning
from tests.serving.models import IDENTITY, PythonModel, double, signature_of

CALL_S = 0.002
ALONE = Plan(instances=2)


def loaded(predict: Callable[[Columns], Columns], batch: Batch = "stack", call_s: float = CALL_S) -> Loaded:
    inputs, outputs = (InputField("x", "FP32", (-1, 2)),), (OutputField("y", "FP32", (-1, 2)),)
    return Loaded(Scorer(signature_of(inputs, outputs, batch=batch), PythonModel(predict), IDENTITY), call_s)


@dataclass
class Taking:
    """Doubles, and takes so many times `CALL_S` for so many records, by a clock that nothing else moves."""

    calls: Callable[[int], float]
    now_s: float = 0.0

    def __call__(self, columns: Columns) -> Columns:
        self.now_s += CALL_S * self.calls(len(columns["x"]))
        return double(columns)

    def plan(self) -> Plan:
        return plan_for(loaded(self), UNTUNED, 1, clock=lambda: self.now_s)


def test_a_model_that_is_quicker_with_many_records_gets_many() -> None:
    plan = Taking(lambda count: 1).plan()
    assert (plan.max_records, plan.max_delay_s, plan.instances) == (64, UNTUNED.max_delay_s, 1)


def test_no_more_are_tried_than_there_is_time_for() -> None:
    assert Taking(lambda count: 40 + count / 10).plan().max_records == 4


def test_room_is_left_for_more_where_they_are_no_slower() -> None:
    def steps(count: int) -> float:
        """The time for each falls to that of four at once, and rises again where there are more than sixteen."""
        return max(count / 4, 1) * (1 if count <= 16 else 1.5)

    assert Taking(steps).plan().max_records == 16


def test_a_model_that_gains_nothing_is_asked_for_each_request() -> None:
    assert Taking(lambda count: count).plan() == ALONE


def test_a_quick_model_is_not_tried() -> None:
    quick = loaded(double, call_s=0.000_01)
    assert plan_for(quick, UNTUNED, 4) == Plan(instances=4)


@pytest.mark.parametrize("batch", ["loop", "none"])
def test_a_model_whose_records_cannot_be_stacked_is_not_tried(batch: Batch) -> None:
    assert plan_for(loaded(double, batch), UNTUNED, 1) == ALONE


def subtracts_the_mean(columns: Columns) -> Columns:
    x = np.asarray(columns["x"])
    return {"y": x - x.mean(axis=0)}


def sums_up(columns: Columns) -> Columns:
    return {"y": np.asarray(columns["x"]).sum(axis=0, keepdims=True)}


def quantizes(columns: Columns) -> Columns:
    """Takes each record's scale out of it, and rounds what is left by the largest number of the batch."""
    x = np.asarray(columns["x"], np.float64)
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    step = np.abs(x).max() / 127
    return {"y": (np.rint(x / step) * step).astype(np.float32)}


@pytest.mark.parametrize("predict", [subtracts_the_mean, sums_up, quantizes])
@pytest.mark.parametrize("tuning", [UNTUNED, Tuning(max_batch=8)])
def test_a_model_that_mixes_records_up_is_found_out(
    predict: Callable[[Columns], Columns], tuning: Tuning, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan_for(loaded(predict), tuning, 1, clock=lambda: 0.0) == ALONE
    assert "iris runs each request alone: its output 'y'" in capsys.readouterr().err


def of_words(predict: Callable[[Columns], Columns], values: tuple[str, ...] | None) -> Loaded:
    inputs, outputs = (InputField("x", "BYTES", (-1, 1), values=values),), (OutputField("y", "FP32", (-1, 1)),)
    return Loaded(Scorer(signature_of(inputs, outputs), PythonModel(predict), IDENTITY), CALL_S)


def counts_letters(columns: Columns) -> Columns:
    return {"y": np.array([[len(str(word))] for word in columns["x"].reshape(-1)], np.float32)}


def looks_up(columns: Columns) -> Columns:
    return {"y": np.array([[{"a": 1, "b": 2}.get(str(word), 9)] for word in columns["x"].reshape(-1)], np.float32)}


@pytest.mark.parametrize(("predict", "values"), [(counts_letters, None), (looks_up, ("a", "b"))])
def test_a_model_of_words_that_mixes_records_up_is_found_out(
    predict: Callable[[Columns], Columns], values: tuple[str, ...] | None, capsys: pytest.CaptureFixture[str]
) -> None:
    def mixes(columns: Columns) -> Columns:
        y = np.asarray(predict(columns)["y"])
        return {"y": y - y.mean(axis=0)}

    eight = Tuning(max_batch=8)
    assert plan_for(of_words(mixes, values), eight, 1) == ALONE
    assert "its output 'y' is another one" in capsys.readouterr().err
    assert plan_for(of_words(predict, values), eight, 1).max_records == 8


def test_a_model_that_takes_one_value_only_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert plan_for(of_words(looks_up, ("a",)), Tuning(max_batch=8), 1) == ALONE
    assert "nothing shows whether it mixes them up" in capsys.readouterr().err


def test_a_model_that_answers_nothing_but_its_sample_is_asked_for_each_request(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def picky(columns: Columns) -> Columns:
        if (np.asarray(columns["x"]) != 1).any():
            raise PredictionRefused("only ones")
        return double(columns)

    assert plan_for(loaded(picky), Tuning(max_batch=8), 1) == ALONE
    assert "it answers no record but its sample" in capsys.readouterr().err


def test_who_says_how_many_gets_as_many_and_nothing_is_measured() -> None:
    plan = plan_for(loaded(double), Tuning(max_batch=24, max_delay_s=0.5, instances=3), 1)
    assert (plan.max_records, plan.max_delay_s, plan.instances) == (24, 0.5, 3)
    assert plan_for(loaded(double), Tuning(max_batch=1), 1) == ALONE


def test_an_engine_with_a_thread_for_each_core_shares_them_with_the_loop() -> None:
    cores, eight, model = usable_cores(), Tuning(max_batch=8), loaded(double)
    assert plan_for(model, eight, cores).shares_cores
    assert plan_for(model, replace(eight, instances=cores), 1).shares_cores
    assert plan_for(model, eight, 1).shares_cores == (cores == 1)


def test_the_trial_is_not_counted() -> None:
    model = loaded(double)
    plan_batches(LoadedParts(model, {}), UNTUNED, 1)
    assert model.scorer.statistics.entry("iris", "1")["inference_count"] == 0


def test_a_convolution_answers_in_a_batch_as_it_does_alone(tmp_path: Path) -> None:
    path = tmp_path / "conv.onnx"
    path.write_bytes(convolution_model(size=8, channels=8, hidden=64))
    model = load_scorer(path, None, IDENTITY, 1)
    plan = plan_for(model, Tuning(max_batch=16), 1)
    assert plan.max_records == 16
    images = np.random.default_rng(5).standard_normal((16, 3, 8, 8)).astype(np.float32)
    alone = [model.scorer.run({"image": images[[index]]})["scores"] for index in range(16)]
    together = model.scorer.batch(plan).compute({"image": images}, 16, Ticket())["scores"]
    np.testing.assert_allclose(np.float64(together), np.float64(np.concatenate(alone)), rtol=1e-4, atol=1e-6)
