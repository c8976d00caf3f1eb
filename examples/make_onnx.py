"""Remakes the ONNX examples: `python -m examples.make_onnx`, in an environment made from requirements.txt.

The opsets are pinned low enough for runtimes of the last three years.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType, StringTensorType

from examples import trained
from examples.trained import Trained
from examples.written import HERE, records, write_case, write_table

OPSETS: Mapping[str, int] = {"": 18, "ai.onnx.ml": 3}


def save(model: onnx.ModelProto, name: str, description: str) -> Path:
    """Write the model with a description and where its data came from."""
    model.doc_string = description
    helper.set_model_props(model, {"data": "scikit-learn's own copy of a classic open data set"})
    # skl2onnx keeps opsets in a set: without sorting, the digest would change from run to run
    opsets = sorted(model.opset_import, key=lambda opset: opset.domain)
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    onnx.checker.check_model(model)
    path = HERE / f"{name}.onnx"
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


def vector_model(name: str, made: Trained) -> None:
    """One input, `float_input`, that holds all columns: what skl2onnx users write most."""
    width = made.data.shape[1]
    model = convert_sklearn(
        made.pipeline,
        name=name,
        initial_types=[("float_input", FloatTensorType([None, width]))],
        target_opset=dict(OPSETS),
    )
    path = save(model, name, f"Inputs in order: {', '.join(made.data.columns)}")
    write_case(path, [{"float_input": row} for row in made.rows.to_numpy(float).tolist()], made.answers)
    write_table(name, made.rows)


def column_model(name: str, made: Trained) -> None:
    """One input per column, text where the column holds categories; probabilities as a tensor, without ZipMap."""
    kinds = {c: StringTensorType if made.data[c].dtype == object else FloatTensorType for c in made.data.columns}
    model = convert_sklearn(
        made.pipeline,
        name=name,
        initial_types=[(column, kind([None, 1])) for column, kind in kinds.items()],
        target_opset=dict(OPSETS),
        options={id(made.pipeline): {"zipmap": False}},
    )
    path = save(model, name, "Is the progression of diabetes after one year above the median?")
    write_case(path, records(made.rows), made.answers)
    write_table(name, made.rows)


def image_model(name: str, made: Trained) -> None:
    """A convolution as large as the picture is the network's first layer; pixels are scaled inside the graph."""
    network = made.pipeline[-1]
    (hidden, output), (hidden_bias, output_bias) = network.coefs_, network.intercepts_
    width = hidden.shape[1]
    weights = {
        "sixteen": np.array(16),
        "kernel": hidden.T.reshape(width, 1, 8, 8),
        "kernel_bias": hidden_bias,
        "dense": output,
        "dense_bias": output_bias,
    }
    nodes = [
        helper.make_node("Div", ["image", "sixteen"], ["scaled"]),
        helper.make_node("Conv", ["scaled", "kernel", "kernel_bias"], ["convolved"]),
        helper.make_node("Relu", ["convolved"], ["active"]),
        helper.make_node("Flatten", ["active"], ["features"]),
        helper.make_node("Gemm", ["features", "dense", "dense_bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 10])],
        [numpy_helper.from_array(value.astype(np.float32), key) for key, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", OPSETS[""])]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="onnx.helper")
    path = save(model, name, "A handwritten digit, grey values 0 to 16, to a score for each of ten classes")
    images = made.rows.to_numpy(float).reshape(-1, 1, 8, 8).tolist()
    write_case(path, [{"image": image} for image in images], made.answers)


def main() -> None:
    """Make them all."""
    vectors: Mapping[str, Callable[[], Trained]] = {
        "iris": trained.iris,
        "diabetes": trained.diabetes,
        "wine-clusters": trained.wine_clusters,
        "digits-pca": trained.digits_pca,
        "breast-cancer-anomaly": trained.breast_cancer_anomaly,
    }
    for name, train in vectors.items():
        vector_model(name, train())
    column_model("diabetes-risk", trained.diabetes_risk())
    image_model("digits-image", trained.digits_image())


if __name__ == "__main__":
    main()
