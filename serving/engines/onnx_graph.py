"""Finds one's way in an ONNX graph: who makes a tensor, from which constant, and every message inside a model.

All walks are loops with a bound, so a hostile graph (a cycle, deep subgraphs) ends them.
"""

from collections.abc import Iterator
from typing import cast

import numpy as np
import onnx
import onnx.numpy_helper
from numpy.typing import NDArray

# These change a tensor's type or shape, not what it means.
PASSING = frozenset({"Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze"})

# Larger constants are weights: nobody's class labels.
_LARGEST_CONSTANT = 100_000
_LONGEST_WALK = 1_000

Node = onnx.NodeProto
Attribute = onnx.AttributeProto
Scalar = str | int | float


class Graph:
    """An index of a model's main graph."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.proto = model.graph
        self._makers = {name: node for node in model.graph.node for name in node.output if name}
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        declared = [*model.graph.value_info, *model.graph.input, *model.graph.output]
        self.declared = {value.name: value for value in declared}

    def maker(self, name: str) -> Node | None:
        """The node that makes the tensor; `None` for inputs and initializers."""
        return self._makers.get(name)

    def origin(self, name: str, passing: frozenset[str] = PASSING) -> Node | None:
        """The node that gives the tensor its meaning: its maker, seen through those that only cast or reshape."""
        for _ in range(_LONGEST_WALK):
            node = self.maker(name)
            if node is None or node.op_type not in passing or not node.input:
                return node
            name = node.input[0]
        return None

    def source(self, name: str, passing: frozenset[str] = PASSING) -> str:
        """The name of the tensor that `origin` makes (or of the input it comes from)."""
        for _ in range(_LONGEST_WALK):
            node = self.maker(name)
            if node is None or node.op_type not in passing or not node.input:
                break
            name = node.input[0]
        return name

    def constant(self, name: str) -> NDArray[np.generic] | None:
        """The value of a small initializer or Constant node."""
        tensor = self._weights.get(name)
        if tensor is None:
            node = self.maker(name)
            if node is None or node.op_type != "Constant":
                return None
            tensor = next((attribute.t for attribute in node.attribute if attribute.name == "value"), None)
        if tensor is None or elements(tensor.dims) > _LARGEST_CONSTANT:
            return None
        try:
            array = onnx.numpy_helper.to_array(tensor)
        except (ValueError, TypeError, UnicodeDecodeError):
            return None
        return cast("NDArray[np.generic]", array)

    def is_constant(self, name: str) -> bool:
        """Whether the tensor is an initializer or a Constant, of any size."""
        node = self.maker(name)
        return name in self._weights or (node is not None and node.op_type == "Constant")


def elements(dims: Iterator[int] | list[int] | tuple[int, ...] | object) -> int:
    """How many elements a tensor of these dimensions has."""
    count = 1
    for dim in cast("list[int]", dims):
        count *= max(int(dim), 0)
    return count


def attribute(node: Node, name: str) -> Attribute | None:
    """The node's attribute of that name."""
    return next((item for item in node.attribute if item.name == name), None)


def word(node: Node, name: str, default: str = "") -> str:
    """The node's string attribute of that name."""
    found = attribute(node, name)
    return found.s.decode(errors="replace") if found is not None else default


def number(node: Node, name: str, default: int = 0) -> int:
    """The node's integer attribute of that name."""
    found = attribute(node, name)
    return int(found.i) if found is not None else default


def scalars(node: Node, *names: str) -> tuple[Scalar, ...] | None:
    """The first of these list attributes that has values: class labels, categories, keys."""
    for name in names:
        found = attribute(node, name)
        if found is None:
            continue
        if found.strings:
            return tuple(item.decode(errors="replace") for item in found.strings)
        if found.ints:
            return tuple(int(item) for item in found.ints)
        if found.floats:
            return tuple(float(item) for item in found.floats)
        if found.HasField("t"):
            return tuple(python_scalar(item) for item in onnx.numpy_helper.to_array(found.t).ravel().tolist())
    return None


def python_scalar(item: object) -> Scalar:
    """A numpy or bytes item as what JSON can carry."""
    if isinstance(item, bytes):
        return item.decode(errors="replace")
    if isinstance(item, bool):
        return int(item)
    return item if isinstance(item, str | int | float) else str(item)


def graphs(model: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    """The main graph, its subgraphs and those inside functions and training information."""
    waiting = [model.graph]
    for training in model.training_info:
        waiting += [training.initialization, training.algorithm]
    for function in model.functions:
        waiting += [graph for node in function.node for graph in _subgraphs(node)]
    while waiting:
        graph = waiting.pop()
        yield graph
        waiting += [inner for node in graph.node for inner in _subgraphs(node)]


def nodes(model: onnx.ModelProto) -> Iterator[Node]:
    """Every node of every graph and function."""
    for graph in graphs(model):
        yield from graph.node
    for function in model.functions:
        yield from function.node


def tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor stored in the model: initializers and attributes, dense and sparse."""
    for graph in graphs(model):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for node in nodes(model):
        yield from _attribute_tensors(node.attribute)
    for function in model.functions:
        yield from _attribute_tensors(function.attribute_proto)


def _attribute_tensors(attributes: object) -> Iterator[onnx.TensorProto]:
    for item in cast("list[Attribute]", attributes):
        if item.HasField("t"):
            yield item.t
        yield from item.tensors
        for sparse in [*item.sparse_tensors, *([item.sparse_tensor] if item.HasField("sparse_tensor") else [])]:
            yield from (sparse.values, sparse.indices)


def _subgraphs(node: Node) -> Iterator[onnx.GraphProto]:
    for item in node.attribute:
        if item.HasField("g"):
            yield item.g
        yield from item.graphs
