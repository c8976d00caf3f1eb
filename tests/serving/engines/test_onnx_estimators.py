"""scikit-learn's estimators through the ONNX engine: the right words, and scikit-learn's own numbers."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.engines.onnx import OnnxEngine
from serving.signature import Role, Signature

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "onnx"
IRIS = ("setosa", "versicolor", "virginica")

Array = NDArray[np.generic]


@dataclass(frozen=True)
class Answered:
    """A described model and what it answers to the inputs that scikit-learn answered."""

    signature: Signature
    outputs: dict[str, Array]
    expected: dict[str, Any]

    def by_role(self, role: Role) -> list[Array]:
        return [self.outputs[field.name] for field in self.signature.outputs if field.role == role]


@cache
def expected() -> dict[str, Any]:
    read: dict[str, Any] = json.loads((FIXTURES / "expected.json").read_text(encoding="utf-8"))
    return read


def answered(name: str) -> Answered:
    path = FIXTURES / f"{name}.onnx"
    engine = OnnxEngine()
    signature = engine.describe(path)
    model = engine.load(path, signature, threads=1)
    kinds = {"BYTES": object, "FP32": np.float32, "FP64": np.float64, "INT64": np.int64}
    given = expected()[name]["inputs"]
    columns = {field.name: np.array(given[field.name], dtype=kinds[field.datatype]) for field in signature.inputs}
    outputs = dict(model.predict(columns))
    model.close()
    return Answered(signature, outputs, expected()[name])


def close(ours: Array, theirs: object) -> bool:
    wanted = np.asarray(theirs)
    return bool(np.allclose(ours.reshape(wanted.shape).astype(float), wanted, rtol=1e-3, atol=1e-3))


@pytest.mark.parametrize(
    ("name", "algorithm", "role"),
    [
        ("forest_zipmap", "tree ensemble", "probability"),
        ("forest_tensor", "tree ensemble", "probability"),
        ("logistic_zipmap", "logistic regression", "probability"),
        ("naive_bayes", "naive Bayes", "probability"),
        ("neighbours", "k-nearest neighbours", "probability"),
        ("neural_network", "neural network", "probability"),
        ("quadratic_discriminant", "quadratic discriminant analysis", "probability"),
        ("svc_probabilities", "support vector machine", "probability"),
        ("voting", "ensemble of linear model and tree ensemble", "probability"),
        ("one_record", "logistic regression", "probability"),
        ("svc_margins", "support vector machine", "score"),
        ("linear_svc", "linear model", "score"),
        ("perceptron_margins", "linear model", "score"),
    ],
)
def test_a_classifier_answers_labels_and_scores_of_its_classes(name: str, algorithm: str, role: Role) -> None:
    model = answered(name)
    assert (model.signature.task, model.signature.algorithm.name) == ("classification", algorithm)
    (label,) = model.by_role("label")
    assert label.tolist() == model.expected["predict"]
    (scores,) = model.by_role(role)
    method = "predict_proba" if role == "probability" else "decision_function"
    assert close(scores, model.expected[method])
    assert [field.labels for field in model.signature.outputs if field.role == role] == [IRIS]
    assert [field.values for field in model.signature.outputs if field.role == "label"] == [IRIS]


def test_zipmap_by_columns_is_one_probability_per_class() -> None:
    model = answered("logistic_columns")
    assert [field.labels for field in model.signature.outputs if field.role == "probability"] == [
        (name,) for name in IRIS
    ]
    assert close(np.stack(model.by_role("probability"), axis=1), model.expected["predict_proba"])


def test_several_targets_have_one_label_column_and_one_probability_matrix_each() -> None:
    model = answered("two_targets")
    assert model.signature.task == "classification"
    assert model.by_role("label")[0].tolist() == model.expected["predict"]
    assert [field.target for field in model.signature.outputs] == [None, "0", "1"]
    for ours, theirs in zip(model.by_role("probability"), model.expected["predict_proba"], strict=True):
        assert close(ours, theirs)


@pytest.mark.parametrize(
    ("name", "algorithm"),
    [
        ("forest_regressor", "tree ensemble"),
        ("linear_regressor", "linear model"),
        ("neighbours_regressor", "k-nearest neighbours"),
        ("neural_regressor", "neural network"),
        ("pca_regressor", "linear model"),
        ("poisson_regressor", "linear model"),
        ("svr", "support vector machine"),
        ("gaussian_process", "Gaussian process"),
    ],
)
def test_a_regressor_answers_one_value_per_record(name: str, algorithm: str) -> None:
    model = answered(name)
    assert (model.signature.task, model.signature.algorithm.name) == ("regression", algorithm)
    (value,) = model.by_role("value")
    assert value.shape == (len(model.expected["predict"]), 1)
    assert close(value, model.expected["predict"])


def test_a_gaussian_process_tells_its_confidence() -> None:
    assert len(answered("gaussian_process").by_role("confidence")) == 1


def test_a_forest_of_two_values_has_two_columns_whatever_its_file_declares() -> None:
    model = answered("forest_two_values")
    assert model.signature.outputs[0].shape == (-1, 2)
    assert close(model.by_role("value")[0], model.expected["predict"])


@pytest.mark.parametrize(
    ("name", "algorithm", "role", "method"),
    [("kmeans", "k-means", "distance", "transform"), ("mixture", "Gaussian mixture", "affinity", "predict_proba")],
)
def test_clustering_answers_the_cluster_and_how_near_each_is(
    name: str, algorithm: str, role: Role, method: str
) -> None:
    model = answered(name)
    assert (model.signature.task, model.signature.algorithm.name) == ("clustering", algorithm)
    assert model.by_role("cluster")[0].ravel().tolist() == model.expected["predict"]
    assert close(model.by_role(role)[0], model.expected[method])
    assert model.signature.outputs[1].labels == (0, 1, 2)


@pytest.mark.parametrize(
    ("name", "algorithm"), [("pca", "principal component analysis"), ("truncated_svd", "linear projection")]
)
def test_dimension_reduction_answers_components(name: str, algorithm: str) -> None:
    model = answered(name)
    assert (model.signature.task, model.signature.algorithm.name) == ("dimension_reduction", algorithm)
    assert close(model.by_role("component")[0], model.expected["transform"])


@pytest.mark.parametrize(
    ("name", "algorithm"),
    [
        ("isolation_forest", "isolation forest"),
        ("local_outlier_factor", "local outlier factor"),
        ("one_class_svm", "one-class support vector machine"),
    ],
)
def test_an_outlier_detector_answers_the_verdict_and_its_score(name: str, algorithm: str) -> None:
    model = answered(name)
    assert (model.signature.task, model.signature.algorithm.name) == ("anomaly", algorithm)
    scores = np.array(model.expected["decision_function"])
    clear = np.abs(scores) > 1e-3  # float32 may fall on either side of the border
    assert (model.by_role("anomaly")[0].ravel() == np.array(model.expected["predict"]))[clear].all()
    assert close(model.by_role("score")[0], scores)


@pytest.mark.parametrize("name", ["categories_strict", "categories_lenient", "columns_one_hot", "columns_ordinal"])
def test_categories_and_numbers_go_through_a_pipeline(name: str) -> None:
    model = answered(name)
    assert model.by_role("label")[0].tolist() == model.expected["predict"]
    assert close(model.by_role("probability")[0], model.expected["predict_proba"])


def test_each_column_of_a_vector_of_categories_is_sampled_from_its_own_encoder() -> None:
    signature = OnnxEngine().describe(FIXTURES / "categories_strict.onnx")
    assert signature.sample == {"cats": ["clerk", "Oslo"]}


def test_texts_are_folded_even_where_the_models_locale_is_missing() -> None:
    model = answered("text")
    assert model.by_role("label")[0].tolist() == model.expected["predict"]
    assert close(model.by_role("probability")[0], model.expected["predict_proba"])
