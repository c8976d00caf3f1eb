"""Finds the categories an input may take, from the encoders that read it.

It follows columns, not tensors, through Concat and Gather: scikit-learn's pipelines join inputs before encoding them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from serving.engines.onnx_graph import Graph, Node, Scalar, number, scalars
from serving.engines.onnx_types import TensorType
from serving.signature import Batch, InputField

# Wider inputs are vectors of features, not tables of categories.
_MOST_COLUMNS = 1_000
_LARGEST_SAMPLE = 10_000
_ORDINARY: Mapping[str, Scalar] = {"BYTES": "a", "BOOL": True, "FP16": 1.0, "FP32": 1.0, "FP64": 1.0}
_PASSING = frozenset({"Identity", "Flatten", "Squeeze", "Unsqueeze", "Reshape"})

Columns = tuple[tuple[str, int], ...]  # of a tensor: which input, and which of its columns


@dataclass(frozen=True, slots=True)
class Categories:
    """What an encoder knows of a column, and whether it refuses anything else."""

    values: tuple[Scalar, ...]
    strict: bool


def read_categories(model: onnx.ModelProto, inputs: Mapping[str, TensorType]) -> Mapping[str, Mapping[int, Categories]]:
    """By input and column, the categories of those columns that go into an encoder."""
    graph = Graph(model)
    columns: dict[str, Columns] = {}
    for name, kind in inputs.items():
        width = kind.shape[-1] if len(kind.shape) == 2 else 1
        if kind.datatype in {"BYTES", "INT64", "INT32"} and len(kind.shape) <= 2 and 0 < width <= _MOST_COLUMNS:
            columns[name] = tuple((name, index) for index in range(width))
    found: dict[str, dict[int, Categories]] = {}
    for node in model.graph.node:
        carried = _carried(graph, node, columns)
        if carried and node.output:
            columns[node.output[0]] = carried
        categories = _encoder(node)
        read = columns.get(node.input[0], ()) if node.input else ()
        if categories is not None and len(read) == 1:
            name, index = read[0]
            if all(isinstance(value, str) == (inputs[name].datatype == "BYTES") for value in categories.values):
                found.setdefault(name, {}).setdefault(index, categories)
    return found


def categorical_sample(
    inputs: Sequence[InputField], categories: Mapping[str, Mapping[int, Categories]], batch: Batch
) -> dict[str, object] | None:
    """One record for a model with a vector of categories, each column from its own encoder, which
    `InputField.values` cannot say; `None` where no input is one, or a record's shape is not fixed."""
    record: dict[str, object] = {}
    needed = False
    for field in inputs:
        shape = field.shape if batch == "none" else field.shape[1:]
        if any(dim < 0 for dim in shape) or math.prod(shape) > _LARGEST_SAMPLE:
            return None
        columns = categories.get(field.name, {})
        if len(shape) == 1 and len(columns) == shape[0] > 1:
            needed = True
            record[field.name] = [columns[index].values[0] for index in range(shape[0])]
        else:
            value = field.values[0] if field.values else _ORDINARY.get(field.datatype, 1)
            record[field.name] = np.full(shape, value, dtype=object).tolist()
    return record if needed else None


def _carried(graph: Graph, node: Node, columns: Mapping[str, Columns]) -> Columns:
    """The columns of the node's output, where it only moves them."""
    if not node.input or not all(name in columns for name in node.input[:1]):
        return ()
    first = columns[node.input[0]]
    if node.op_type in {"Identity", "Cast"}:
        return first if node.op_type == "Identity" else ()
    if node.op_type in _PASSING:
        return first if len(first) == 1 else ()
    if node.op_type == "Concat" and number(node, "axis") in {1, -1} and all(name in columns for name in node.input):
        return tuple(column for name in node.input for column in columns[name])[:_MOST_COLUMNS]
    if node.op_type in {"Gather", "ArrayFeatureExtractor"} and len(node.input) > 1:
        if node.op_type == "Gather" and number(node, "axis") not in {1, -1}:
            return ()
        indices = graph.constant(node.input[1])
        chosen = [] if indices is None else [int(index) for index in indices.ravel().tolist()]
        if all(-len(first) <= index < len(first) for index in chosen):
            return tuple(first[index] for index in chosen)
    return ()


def _encoder(node: Node) -> Categories | None:
    if node.op_type == "OneHotEncoder":
        values = scalars(node, "cats_strings", "cats_int64s")
        return Categories(values, strict=number(node, "zeros", 1) == 0) if values else None
    if node.op_type in {"LabelEncoder", "CategoryMapper"}:
        values = scalars(node, "keys_strings", "keys_int64s", "cats_strings", "classes_strings")
        return Categories(values, strict=False) if values else None
    return None
