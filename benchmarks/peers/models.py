"""`python -m benchmarks.peers.models FOLDER`: makes the models that all serve, from seeds, and what they answer.

- `iris.onnx`: the example, cut to its tensor of probabilities: not every peer can tell a map or a string;
- `identity.onnx`: rows of 262,144 FP32 values, 1 MiB;
- `conv.onnx`: a small residual network for images of 32 by 32, and `dense.onnx`, convolutions over images of 16 by 16
  with a large dense layer behind them;
- `forest.onnx` and `forest.pmml`: the same 50 trees.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from benchmarks.convolution import convolution_model
from benchmarks.peers import forest
from benchmarks.peers.theirs.engine import Model
from benchmarks.peers.workloads import (
    CONV_SHAPE,
    DENSE_SHAPE,
    IDENTITY_VALUES,
    MANY_RECORDS,
    MANY_ROWS,
    image_rows,
    iris_rows,
)

SEED = 6
OPSET = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
IR_VERSION = 8
CHANNELS = (16, 32, 64)
CLASSES = 10


def make_models(examples: Path, folder: Path) -> None:
    """Write the models, and `expected.json`: what the engine itself answers to each workload."""
    onnx.save(_cut_iris(onnx.load(str(examples / "iris.onnx"))), str(folder / "iris.onnx"))
    onnx.save(_identity(), str(folder / "identity.onnx"))
    onnx.save(_conv(np.random.default_rng(SEED)), str(folder / "conv.onnx"))
    (folder / "dense.onnx").write_bytes(convolution_model(DENSE_SHAPE[1], 64, 4096))
    trees = forest.grow(SEED)
    onnx.save(_forest(trees), str(folder / "forest.onnx"))
    _write_arrow(folder / "forest.arrow", np.asarray(forest.rows(MANY_RECORDS), np.float32))
    (folder / "forest.pmml").write_text(forest.as_pmml(trees), "utf-8")
    (folder / "expected.json").write_text(json.dumps(_expected(folder)), "utf-8")


def _write_arrow(path: Path, rows: NDArray[np.float32]) -> None:
    """The rows as an Arrow IPC stream: one column, the input, of lists with a fixed size."""
    column = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(rows.ravel()), rows.shape[1])
    batch = pyarrow.record_batch([column], names=["x"])
    with pyarrow.ipc.new_stream(str(path), batch.schema) as stream:
        stream.write_batch(batch)


def _expected(folder: Path) -> dict[str, list[float]]:
    names = ("iris", "conv", "dense", "forest")
    iris, conv, dense, trees = (Model(str(folder / f"{name}.onnx")) for name in names)
    rows: dict[str, tuple[Model, Sequence[Any]]] = {
        "json": (iris, iris_rows(1)),
        "rows": (iris, iris_rows(MANY_ROWS)),
        "grpc": (iris, iris_rows(1)),
        "conv": (conv, image_rows(*CONV_SHAPE)),
        "batch": (conv, image_rows(*CONV_SHAPE)),
        "batch-dense": (dense, image_rows(*DENSE_SHAPE)),
        "forest": (trees, forest.rows(MANY_RECORDS)),
        "pmml-row": (trees, forest.rows(1)),
        "pmml-rows": (trees, forest.rows(MANY_RECORDS)),
    }
    return {name: model.run(np.asarray(given, np.float32)).ravel().tolist() for name, (model, given) in rows.items()}


def _cut_iris(model: onnx.ModelProto) -> onnx.ModelProto:
    graph = model.graph
    (zipmap,) = (node for node in graph.node if node.op_type == "ZipMap")
    label = graph.output[0].name
    kept = [node for node in graph.node if node is not zipmap and label not in node.output]
    del graph.node[:], graph.output[:]
    graph.node.extend(kept)
    graph.output.append(helper.make_tensor_value_info(zipmap.input[0], TensorProto.FLOAT, ["N", 3]))
    return model


def _identity() -> onnx.ModelProto:
    given, told = (_floats(name, ["N", IDENTITY_VALUES]) for name in ("x", "y"))
    return _model([helper.make_node("Identity", ["x"], ["y"])], given, told, [])


def _conv(random: np.random.Generator) -> onnx.ModelProto:
    """Stem, one residual block per width, global pooling, a dense layer."""
    weights: list[TensorProto] = []
    nodes = [*_convolve(random, weights, "image", "stem", 3, CHANNELS[0], 1)]
    before, width = "stem", CHANNELS[0]
    for channels in CHANNELS:
        nodes += _block(random, weights, before, f"block{channels}", width, channels)
        before, width = f"block{channels}", channels
    weights.append(_weight(random, "dense.w", (width, CLASSES), width))
    nodes += [
        helper.make_node("GlobalAveragePool", [before], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "dense.w"], ["scores"]),
    ]
    return _model(nodes, _floats("image", ["N", 3, 32, 32]), _floats("scores", ["N", CLASSES]), weights)


def _block(
    random: np.random.Generator, weights: list[TensorProto], before: str, name: str, width: int, channels: int
) -> Iterator[onnx.NodeProto]:
    stride = 1 if width == channels else 2
    yield from _convolve(random, weights, before, f"{name}.a", width, channels, stride)
    yield from _convolve(random, weights, f"{name}.a", f"{name}.b", channels, channels, 1)
    shortcut = before
    if stride == 2:
        shortcut = f"{name}.shortcut"
        yield from _convolve(random, weights, before, shortcut, width, channels, stride)
    yield helper.make_node("Add", [f"{name}.b", shortcut], [name])


def _convolve(
    random: np.random.Generator,
    weights: list[TensorProto],
    before: str,
    name: str,
    width: int,
    channels: int,
    stride: int,
) -> Iterator[onnx.NodeProto]:
    weights.append(_weight(random, f"{name}.w", (channels, width, 3, 3), 9 * width))
    convolution: dict[str, Any] = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [stride, stride]}
    yield helper.make_node("Conv", [before, f"{name}.w"], [f"{name}.c"], **convolution)
    yield helper.make_node("Relu", [f"{name}.c"], [name])


def _forest(trees: Sequence[forest.Node]) -> onnx.ModelProto:
    node = helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", **forest.as_attributes(trees))
    return _model([node], _floats("x", ["N", forest.FEATURES]), _floats("y", ["N", 1]), [])


def _weight(random: np.random.Generator, name: str, shape: tuple[int, ...], fan_in: int) -> TensorProto:
    values = random.normal(0, (2 / fan_in) ** 0.5, shape).astype(np.float32)
    return numpy_helper.from_array(values, name)


def _floats(name: str, shape: list[Any]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _model(
    nodes: Sequence[onnx.NodeProto], given: onnx.ValueInfoProto, told: onnx.ValueInfoProto, weights: list[TensorProto]
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "peers", [given], [told], weights)
    model = helper.make_model(graph, opset_imports=OPSET, ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model


if __name__ == "__main__":
    make_models(Path(sys.argv[1]), Path(sys.argv[2]))
