"""A random forest in ONNX, made without a training library: complete trees over random thresholds."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

LABELS = ("high", "low", "medium")


def write_forest(path: Path, trees: int, depth: int, features: int, seed: int = 6) -> None:
    """Write a classifier of a float vector `x`, as scikit-learn's converter would have it."""
    node = helper.make_node("TreeEnsembleClassifier", ["x"], ["label", "probabilities"], domain="ai.onnx.ml")
    attributes = {"classlabels_strings": list(LABELS), "post_transform": "NONE"}
    for name, value in (attributes | dict(_attributes(trees, depth, features, seed))).items():
        node.attribute.append(helper.make_attribute(name, value))
    graph = helper.make_graph(
        [node],
        "forest",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, features])],
        [
            helper.make_tensor_value_info("label", TensorProto.STRING, [None]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, len(LABELS)]),
        ],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)


def _attributes(trees: int, depth: int, features: int, seed: int) -> Mapping[str, list[int] | list[float] | list[str]]:
    rng = np.random.default_rng(seed)
    inner, size = 2**depth - 1, 2 ** (depth + 1) - 1  # nodes are numbered level by level: 2n + 1 and 2n + 2 are below n
    node, is_leaf = np.tile(np.arange(size), trees), np.tile(np.arange(size) >= inner, trees)
    tree = np.repeat(np.arange(trees), size)
    weights = rng.dirichlet(np.ones(len(LABELS)), int(is_leaf.sum())) / trees
    leaves = {"class_treeids": tree[is_leaf], "class_nodeids": node[is_leaf]}
    return {
        "nodes_treeids": tree.tolist(),
        "nodes_nodeids": node.tolist(),
        "nodes_featureids": np.where(is_leaf, 0, rng.integers(0, features, len(node))).tolist(),
        "nodes_values": np.where(is_leaf, 0, rng.normal(0, 1, len(node))).astype(np.float32).tolist(),
        "nodes_modes": np.where(is_leaf, "LEAF", "BRANCH_LEQ").tolist(),
        "nodes_truenodeids": np.where(is_leaf, 0, 2 * node + 1).tolist(),
        "nodes_falsenodeids": np.where(is_leaf, 0, 2 * node + 2).tolist(),
        **{name: np.repeat(ids, len(LABELS)).tolist() for name, ids in leaves.items()},
        "class_ids": np.tile(np.arange(len(LABELS)), int(is_leaf.sum())).tolist(),
        "class_weights": weights.reshape(-1).astype(np.float32).tolist(),
    }
