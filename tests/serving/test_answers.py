"""One answer shape per task, whichever columns an engine has for it."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.problems import Problem
from serving.score import Scorer
from serving.signature import InputField, OutputField, Role, Scalar, Task
from tests.serving.models import IDENTITY, PythonModel, echo_scorer, scalar, signature_of

CLASSES = ("a", "b")
TWO = {"inputs": [{"x": 1}, {"x": 2}]}
TABLE = {"columns": ["x"], "data": [[1], [2]]}


def out(
    name: str,
    role: Role,
    labels: tuple[Scalar, ...] | None = None,
    *,
    target: str | None = None,
    values: tuple[Scalar, ...] | None = None,
) -> OutputField:
    return OutputField(name, "FP64", (-1, len(labels)) if labels else (-1,), role, labels, target, values=values)


def texts(*values: str | None) -> NDArray[np.generic]:
    return np.array(values, np.object_)


def ask(task: Task, outputs: Mapping[OutputField, NDArray[np.generic]], body: object = TWO) -> Any:
    """The `outputs` that a model with these columns, always the same, answers to two records."""
    signature = signature_of((scalar("x"),), tuple(outputs), task=task)
    columns = {field.name: column for field, column in outputs.items()}
    scorer = Scorer(signature, PythonModel(lambda _: columns), IDENTITY)
    return json.loads(scorer.predict(json.dumps(body).encode()))["outputs"]


PROBABILITIES = np.array([[0.25, 0.75], [1, 0]])


def test_classification_has_a_label_and_a_probability_per_class() -> None:
    outputs = {out("l", "label"): texts("b", "a"), out("p", "probability", CLASSES): PROBABILITIES}
    assert ask("classification", outputs) == [
        {"label": "b", "probabilities": {"a": 0.25, "b": 0.75}},
        {"label": "a", "probabilities": {"a": 1, "b": 0}},
    ]
    assert ask("classification", outputs, TABLE) == {
        "columns": ["label", "probability(a)", "probability(b)"],
        "data": [["b", 0.25, 0.75], ["a", 1, 0]],
    }


def test_one_column_per_class_is_the_same_answer() -> None:
    columns = {out(f"p{label}", "probability", (label,)): PROBABILITIES[:, at] for at, label in enumerate(CLASSES)}
    assert ask("classification", columns)[0] == {"label": "b", "probabilities": {"a": 0.25, "b": 0.75}}


def test_a_label_that_the_model_does_not_tell_is_the_most_probable() -> None:
    assert [each["label"] for each in ask("classification", {out("p", "probability", (7, 9)): PROBABILITIES})] == [9, 7]


def test_classes_that_are_no_strings_become_keys() -> None:
    record = ask("classification", {out("p", "probability", (True, False)): PROBABILITIES})[0]
    assert record["probabilities"] == {"true": 0.25, "false": 0.75}


def test_regression_has_a_value_and_its_confidence() -> None:
    outputs = {out("y", "value"): np.array([[1.5], [2.5]]), out("c", "confidence"): np.array([0.5, np.nan])}
    assert ask("regression", outputs) == [{"value": 1.5, "confidence": 0.5}, {"value": 2.5, "confidence": None}]


def test_several_targets_have_a_value_each() -> None:
    outputs = {
        out("y1", "value", target="height"): np.array([1.0, 2.0]),
        out("y2", "value", target="weight"): np.array([3.0, 4.0]),
    }
    assert ask("regression", outputs)[0] == {"value": {"height": 1, "weight": 3}}
    assert ask("regression", outputs, TABLE)["columns"] == ["value(height)", "value(weight)"]


def test_several_classified_targets_have_their_own_labels_and_probabilities() -> None:
    outputs = {
        out("p1", "probability", CLASSES, target="s"): PROBABILITIES,
        out("p2", "probability", CLASSES, target="t"): PROBABILITIES[::-1],
    }
    assert ask("classification", outputs)[0] == {
        "label": {"s": "b", "t": "a"},
        "probabilities": {"s": {"a": 0.25, "b": 0.75}, "t": {"a": 1, "b": 0}},
    }


def test_clustering_has_a_cluster_and_distances_or_affinities() -> None:
    distances = {out("d", "distance", (0, 1)): np.array([[2.0, 1.0], [3.0, 4.0]])}
    assert ask("clustering", {out("c", "cluster"): np.array([1, 0]), **distances})[0] == {
        "cluster": 1, "distances": {"0": 2, "1": 1},
    }  # fmt: skip
    assert [each["cluster"] for each in ask("clustering", distances)] == [1, 0]
    affinities = {out("c", "cluster"): texts("x", "y"), out("a", "affinity", ("x", "y")): PROBABILITIES}
    assert ask("clustering", affinities)[0] == {"cluster": "x", "affinities": {"x": 0.25, "y": 0.75}}


def test_dimension_reduction_has_components_in_one_column_or_many() -> None:
    vector = ask("dimension_reduction", {out("z", "component", (1, 2)): PROBABILITIES})
    scalars = ask("dimension_reduction", {out(f"z{at}", "component"): PROBABILITIES[:, at] for at in (0, 1)})
    assert vector == scalars == [{"components": [0.25, 0.75]}, {"components": [1, 0]}]
    table = ask("dimension_reduction", {out("z", "component", (1, 2)): PROBABILITIES}, TABLE)
    assert table["columns"] == ["component(0)", "component(1)"]


@pytest.mark.parametrize(
    ("column", "values"),
    [(np.array([-1, 1]), (-1, 1)), (np.array([True, False]), None), (np.array([1, 0]), None),
     (texts("outlier", "inlier"), None)],
)  # fmt: skip
def test_an_anomaly_is_true_or_false_however_the_model_says_it(
    column: NDArray[np.generic], values: tuple[Scalar, ...] | None
) -> None:
    outputs = {out("a", "anomaly", values=values): column, out("s", "score"): np.array([0.5, -0.5])}
    assert ask("anomaly", outputs) == [{"anomaly": True, "score": 0.5}, {"anomaly": False, "score": -0.5}]


def test_association_has_a_list_of_rules() -> None:
    outputs = {out("rule", "rule"): texts("a -> b", None), out("support", "rule"): np.array([0.5, np.nan])}
    assert ask("association", outputs) == [{"rules": [{"rule": "a -> b", "support": 0.5}]}, {"rules": []}]


def test_further_declared_outputs_stand_under_fields() -> None:
    outputs = {out("y", "value"): np.array([1.0, 2.0]), out("reason", "field"): texts("x", None)}
    assert ask("regression", outputs)[1] == {"value": 2, "fields": {"reason": None}}
    assert ask("regression", outputs, TABLE) == {"columns": ["value", "reason"], "data": [[1, "x"], [2, None]]}


def test_tensors_are_told_by_name_and_nan_is_null() -> None:
    outputs = {out("y", "field", (1, 2)): np.array([[1, np.nan], [np.inf, 4]])}
    assert ask("tensor", outputs) == [{"y": [1, None]}, {"y": [None, 4]}]
    assert ask("tensor", outputs, TABLE) == {"columns": ["y"], "data": [[[1, None]], [[None, 4]]]}


def test_tensors_asked_whole_are_answered_whole() -> None:
    outputs = {out("y", "value"): np.array([[1.5], [2.5]])}
    assert ask("regression", outputs, {"tensors": {"x": [1, 2]}}) == {"y": [[1.5], [2.5]]}


def test_one_record_is_answered_by_one_and_a_loop_by_a_list() -> None:
    scorer = echo_scorer(InputField("x", "FP32", (1, 2)), batch="loop")

    def outputs(inputs: object) -> object:
        return json.loads(scorer.predict(json.dumps({"inputs": inputs}).encode()))["outputs"]

    assert outputs({"x": [1, 2]}) == {"x": [1, 2]}
    assert outputs([{"x": [1, 2]}, {"x": [3, 4]}]) == [{"x": [1, 2]}, {"x": [3, 4]}]
    whole = echo_scorer(InputField("x", "FP32", (2,)), batch="none")
    assert json.loads(whole.predict(b'{"inputs":{"x":[1,2]}}'))["outputs"] == {"x": [1, 2]}


def test_answers_that_belong_to_no_record_are_refused_with_their_shapes() -> None:
    with pytest.raises(Problem, match=r"y \[3\] to 2 record") as caught:
        ask("regression", {out("y", "value"): np.array([1.0, 2.0, 3.0])})
    assert caught.value.status == 422
