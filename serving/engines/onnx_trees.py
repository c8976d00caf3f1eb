"""Reads an ONNX model that is nothing but trees: one TreeEnsembleRegressor or -Classifier over the model's input.

Exporters of forests and boosted trees write just that, with the classes' labels cast to what they are already.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from serving.engines.onnx_graph import Graph, Node, attribute
from serving.engines.onnx_tree_lists import NotTrees, class_texts, read_trees
from serving.native.forest import Trees

_COPYING = frozenset({"Identity"})
_OPERATORS = frozenset({"TreeEnsembleRegressor", "TreeEnsembleClassifier"})


@dataclass(frozen=True, slots=True)
class TreeModel:
    """The trees, and what the graph calls their input and what they answer."""

    trees: Trees
    input: str
    scores: str  # the output that is just these; empty where there is none
    labels: str
    texts: Sequence[str] | None  # what the classes are called, where these are texts: labels are their numbers then

    @property
    def outputs(self) -> list[str]:
        """All that it answers."""
        return [name for name in (self.labels, self.scores) if name]


def tree_model(model: onnx.ModelProto) -> TreeModel:
    """The trees that this model is; its outputs are tensors (see `unwrap_outputs`). Raises `NotTrees`."""
    graph = Graph(model)
    found = [node for node in model.graph.node if node.op_type in _OPERATORS and node.domain == "ai.onnx.ml"]
    if len(found) != 1 or len(model.graph.input) != 1:
        raise NotTrees("the model is no single forest over one input")
    (node,) = found
    told = _told(graph, node)
    is_classifier = node.op_type == "TreeEnsembleClassifier"
    labels, scores = (told[0], told[1]) if is_classifier else ("", told[0])
    trees = read_trees(node, _width(model.graph.input[0], node))
    return TreeModel(trees, node.input[0], scores, labels, class_texts(node) if is_classifier else None)


def _width(given: onnx.ValueInfoProto, node: Node) -> int:
    dims = given.type.tensor_type.shape.dim
    if node.input[0] != given.name or given.type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
        raise NotTrees("the forest does not read the input itself, or not in FP32")
    if len(dims) != 2 or dims[1].dim_value < 1:
        raise NotTrees("the input says not how many numbers a row has")
    return int(dims[1].dim_value)


def _told(graph: Graph, node: Node) -> tuple[str, str]:
    """The model's outputs that are the forest's first and second, and nothing but copies of these."""
    by_tensor: dict[str, str] = {}
    for output in graph.proto.output:
        tensor = output.name
        while (maker := graph.maker(tensor)) is not None and _only_copies(graph, maker):
            tensor = maker.input[0]
        if tensor not in node.output or tensor in by_tensor:
            raise NotTrees(f"the output {output.name!r} is more than the forest's")
        by_tensor[tensor] = output.name
    first, second = [by_tensor.get(name, "") for name in (*node.output, "")][:2]
    return first, second


def _only_copies(graph: Graph, node: Node) -> bool:
    """Whether what it makes is what it is given, as with a cast of whole labels to INT64."""
    if node.op_type == "Identity":
        return True
    maker, to = graph.origin(node.input[0], _COPYING) if node.op_type == "Cast" else None, attribute(node, "to")
    if maker is None or to is None or maker.op_type != "TreeEnsembleClassifier":
        return False
    is_label = graph.source(node.input[0], _COPYING) == maker.output[0]
    of = onnx.TensorProto.INT64 if is_label else onnx.TensorProto.FLOAT
    return to.i == of and not (is_label and class_texts(maker))


def rows_around(trees: Trees, count: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Rows `[count, width]` whose numbers stand at the thresholds, next to them, and far from them, or are missing."""
    splits = trees.nodes[trees.nodes["kind"] > 0]
    rows = random.normal(0, 3, (count, trees.width)).astype(np.float32)
    for feature in np.flatnonzero(np.bincount(splits["feature"])):
        thresholds = splits["value"][splits["feature"] == feature]
        chosen = random.choice(thresholds, count)
        away = random.choice(np.array([-np.inf, 0, np.inf], np.float32), count)
        rows[:, feature] = np.where(away == 0, chosen, np.nextafter(chosen, away))
    odd = random.choice(np.array([np.nan, np.inf, -np.inf, 0, -0.0], np.float32), rows.shape)
    return np.where(random.random(rows.shape) < 1 / 16, odd, rows).astype(np.float32)
