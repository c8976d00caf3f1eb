"""Loading ONNX models and predicting with them: exact numbers, plain refusals, nothing sent anywhere."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from serving.engines.base import InvalidModel, LoadedModel, PredictionRefused
from serving.engines.onnx import OnnxEngine
from serving.engines.onnx_runtime import open_session
from serving.engines.onnx_session import plain_words
from tests.serving.engines.onnx_models import classifier, identity, model, node, saved, tensor

X = np.array([[1.0, 2.0], [-3.0, 0.5], [0.1, 0.1]], dtype=np.float32)


def loaded(made: onnx.ModelProto, folder: Path) -> LoadedModel:
    path = saved(made, folder)
    return OnnxEngine().load(path, OnnxEngine().describe(path), threads=1)


def test_probabilities_behind_a_zipmap_are_exactly_the_models(tmp_path: Path) -> None:
    ours = loaded(classifier(), tmp_path).predict({"x": X})
    label, maps = open_session(str(tmp_path / "model.onnx"), threads=1).run(["label", "zipped"], {"x": X})
    assert ours["label"].tolist() == label.tolist()
    assert ours["zipped"].tolist() == [[row["no"], row["yes"]] for row in maps]


def test_a_zipmap_seen_through_identity_is_unwrapped_too(tmp_path: Path) -> None:
    made = classifier()
    made.graph.node[1].output[0] = "inner"
    made.graph.node.append(node("Identity", "inner", "zipped"))
    assert loaded(made, tmp_path).predict({"x": X})["zipped"].shape == (3, 2)


def test_a_sequence_of_tensors_becomes_one_output_each(tmp_path: Path) -> None:
    output = onnx.helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None)
    made = model([node("Relu", "x", "s_0"), node("SequenceConstruct", "s_0 x", "s")], outputs=[output])
    answers = loaded(made, tmp_path).predict({"x": X})
    assert answers["s_0_"].tolist() == np.maximum(X, 0).tolist()
    assert answers["s_1"].tolist() == X.tolist()


def test_threads_may_predict_at_the_same_time(tmp_path: Path) -> None:
    ready = loaded(classifier(), tmp_path)
    single = ready.predict({"x": X})["zipped"].tolist()
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: ready.predict({"x": X})["zipped"].tolist(), range(40)))
    assert results == [single] * 40


def test_texts_come_back_as_texts(tmp_path: Path) -> None:
    value = tensor("x", [None], TensorProto.STRING)
    made = model([node("Identity", "x", "y")], [value], [tensor("y", [None], TensorProto.STRING)])
    texts = np.array(["Zürich", ""], dtype=object)
    assert loaded(made, tmp_path).predict({"x": texts})["y"].tolist() == ["Zürich", ""]


@pytest.mark.parametrize(
    "column",
    [
        np.zeros((3, 5), dtype=np.float32),
        np.zeros(3, dtype=np.float32),
        np.zeros((3, 2), dtype=np.float64),
        np.array([["a", "b"]], dtype=object),
    ],
)
def test_a_column_that_does_not_fit_is_refused_in_words(tmp_path: Path, column: np.ndarray[tuple[int, ...]]) -> None:
    ready = loaded(classifier(), tmp_path)
    with pytest.raises(PredictionRefused) as caught:
        ready.predict({"x": column})
    assert "ONNXRuntimeError" not in str(caught.value)
    assert ready.predict({"x": X})["label"].shape == (3,)


def test_missing_and_unknown_columns_are_refused(tmp_path: Path) -> None:
    ready = loaded(identity(), tmp_path)
    for columns in ({}, {"x": X, "z": X}):
        with pytest.raises(PredictionRefused):
            ready.predict(columns)


def test_a_missing_text_is_refused_and_not_read_as_none(tmp_path: Path) -> None:
    value = tensor("x", [None], TensorProto.STRING)
    made = model([node("Identity", "x", "y")], [value], [tensor("y", [None], TensorProto.STRING)])
    with pytest.raises(PredictionRefused, match="'x' takes texts only"):
        loaded(made, tmp_path).predict({"x": np.array(["a", None], dtype=object)})


def test_shapes_that_clash_inside_the_graph_are_refused_with_the_operator(tmp_path: Path) -> None:
    made = model(
        [node("MatMul", "x w", "y")],
        [tensor("x", [None, "k"])],
        weights=[numpy_helper.from_array(np.ones((2, 2), dtype=np.float32), "w")],
    )
    ready = loaded(made, tmp_path)
    with pytest.raises(PredictionRefused) as caught:
        ready.predict({"x": np.ones((1, 3), dtype=np.float32)})
    assert "MatMul" in str(caught.value)
    assert "onnxruntime_src" not in str(caught.value)


def test_a_category_that_a_strict_encoder_does_not_know_is_refused(tmp_path: Path) -> None:
    encoder = node("OneHotEncoder", "x", "y", "ai.onnx.ml", cats_strings=["clerk"], zeros=0)
    made = model([encoder], [tensor("x", [None, 1], TensorProto.STRING)], [tensor("y", None)])
    with pytest.raises(PredictionRefused):
        loaded(made, tmp_path).predict({"x": np.array([["pilot"]], dtype=object)})


def test_more_memory_than_there_is_is_refused(tmp_path: Path) -> None:
    shape = tensor("x", ["n"], TensorProto.INT64)
    ready = loaded(model([node("ConstantOfShape", "x", "y")], [shape], [tensor("y", None)]), tmp_path)
    with pytest.raises(PredictionRefused):
        ready.predict({"x": np.array([2**40, 2**20], dtype=np.int64)})


def test_a_model_that_the_runtime_refuses_says_why_in_words(tmp_path: Path) -> None:
    made = model([node("Scaler", "x", "y", "ai.onnx.ml")])
    path = saved(made, tmp_path)
    signature = OnnxEngine().describe(path)
    with pytest.raises(InvalidModel) as caught:
        OnnxEngine().load(path, signature, threads=1)
    assert caught.value.code == "onnx_refused_by_runtime"
    assert caught.value.message.endswith("Empty scale in attributes")
    assert str(tmp_path) not in caught.value.message


def test_a_closed_model_refuses(tmp_path: Path) -> None:
    ready = loaded(identity(), tmp_path)
    ready.close()
    with pytest.raises(PredictionRefused):
        ready.predict({"x": X})


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (
            "[ONNXRuntimeError] : 1 : FAIL : Load model from /models/m.onnx failed:/src/core/graph/model.cc:256 "
            "onnxruntime::Model::Model(onnx::ModelProto&&, const PathString&) Unsupported model IR version: 14",
            "Unsupported model IR version: 14",
        ),
        (
            "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running MatMul node. "
            "Name:'m' Status Message: /src/core/matmul.h:142 onnxruntime::common::Status "
            "onnxruntime::MatMulComputeHelper::Compute(const Shape&) [with T = float] left == right was false. "
            "MatMul dimension mismatch",
            "MatMul: MatMul dimension mismatch",
        ),
        ("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got: 3 Expected: 4", "Got: 3 Expected: 4"),
        ("", "no reason given"),
    ],
)
def test_messages_of_the_runtime_lose_paths_and_source_lines(message: str, words: str) -> None:
    assert plain_words(message) == words


def test_the_runtime_leaves_no_device_id_and_no_events(tmp_path: Path) -> None:
    saved(identity(), tmp_path)
    code = (
        "from pathlib import Path; from serving.engines.onnx import OnnxEngine; e = OnnxEngine(); "
        "p = Path('model.onnx'); e.load(p, e.describe(p), 1).close()"
    )
    home = tmp_path / "home"
    home.mkdir()
    room = Path(__file__).resolve().parents[3]
    environment = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "PYTHONPATH": str(room)}
    subprocess.run([sys.executable, "-P", "-c", code], check=True, env=environment, cwd=tmp_path, timeout=300)
    assert list(home.rglob("*")) == []


@pytest.mark.parametrize("offset", [1, 4, 8, 12])
def test_an_answer_does_not_depend_on_where_its_tensor_begins(tmp_path: Path, offset: int) -> None:
    made = model([node("ReduceMean", "x", "y", axes=[1], keepdims=1)], [tensor("x", [None, 60])])
    ready = loaded(made, tmp_path)
    column = np.random.default_rng(3).normal(size=(50, 60)).astype(np.float32)
    body = bytes(offset) + column.tobytes()
    anywhere = np.frombuffer(body, np.uint8)[offset:].view(np.float32).reshape(column.shape)
    assert ready.predict({"x": anywhere})["y"].tobytes() == ready.predict({"x": column})["y"].tobytes()
