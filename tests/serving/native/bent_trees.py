"""Forests bent by chance: lists as no exporter writes them, which onnxruntime reads all the same, or refuses."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from serving.engines.base import InvalidModel
from serving.engines.onnx_forest import answers_alike, compiled
from serving.engines.onnx_graph import Node, attribute
from serving.engines.onnx_rewriting import load_session
from serving.engines.onnx_runtime import RUNTIME_ERRORS
from serving.engines.onnx_tree_lists import NotTrees
from serving.engines.onnx_tree_rows import rows_around
from serving.native.library import Library
from tests.serving.native.tree_models import MODELS, Chance, same, seed_of

NODES = ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids")
ODD = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-40, 3.4e38, -3.4e38, 0.5)
LEFT: tuple[type[Exception], ...] = (InvalidModel, NotTrees, *RUNTIME_ERRORS)
ODD_IDS = (-1, 0, 1, 2, 7, 2**31 - 1, 2**31, 2**32 + 1, -(2**31), 2**62)


def bent(made: onnx.ModelProto, chance: Chance) -> onnx.ModelProto:
    """The model, bent in one to three ways."""
    operator = next(node for node in made.graph.node if node.op_type.startswith("TreeEnsemble"))
    for bend in chance.choice(len(BENDS), int(chance.integers(1, 4))):
        BENDS[bend](operator, chance)
    return made


def compare_bent(folder: Path, library: Library, seed: int) -> bool:
    """Whether it is answered by compiled code. Raises `AssertionError` where the answers differ, or what is tried finds
    out only by chance that they do."""
    chance, path = np.random.default_rng(seed), folder / "model.onnx"
    made = bent(list(MODELS.values())[seed % len(MODELS)](chance), chance)
    path.write_bytes(made.SerializeToString())
    try:
        session = load_session(path, 1)
        quick = compiled(session, path, library)
        assert answers_alike(session, quick), f"seed {seed} is found out"
    except LEFT:
        return False
    rows = rows_around(quick.model.trees, int(chance.integers(1, 1500)), seed_of(chance))
    scale = 10.0 ** chance.integers(-44, 38, rows.shape)
    for asked in (rows, (chance.normal(size=rows.shape) * scale).astype(np.float32)):
        ours = quick.told(quick.model.outputs, asked)
        if ours is not None:  # else the runtime may refuse a row
            theirs = session.run(quick.model.outputs, {quick.model.input: asked})
            assert same(theirs, ours), f"seed {seed}"
    return True


def _weights(operator: Node) -> list[str]:
    kind = "target" if operator.op_type == "TreeEnsembleRegressor" else "class"
    return [f"{kind}_{name}" for name in ("treeids", "nodeids", "ids", "weights")]


def _values(operator: Node, name: str) -> list[Any]:
    found = attribute(operator, name)
    return [] if found is None else list(found.ints or found.floats or found.strings)


def _put(operator: Node, name: str, values: Sequence[Any]) -> None:
    found = attribute(operator, name)
    if found is not None:
        operator.attribute.remove(found)
    operator.attribute.append(onnx.helper.make_attribute(name, list(values)))


def _chosen(operator: Node, names: Sequence[str], order: Sequence[int]) -> None:
    for name in names:
        values = _values(operator, name)
        if len(values) > max(order):
            _put(operator, name, [values[at] for at in order])


def _order_weights(operator: Node, chance: Chance) -> None:
    count = len(_values(operator, _weights(operator)[0]))
    _chosen(operator, _weights(operator), chance.permutation(count).tolist())


def _repeat_weights(operator: Node, chance: Chance) -> None:
    count = len(_values(operator, _weights(operator)[0]))
    _chosen(operator, _weights(operator), sorted([*range(count), int(chance.integers(count))]))


def _drop_weights(operator: Node, chance: Chance) -> None:
    count = len(_values(operator, _weights(operator)[0]))
    if count > 1:
        _chosen(operator, _weights(operator), sorted(chance.permutation(count)[1:].tolist()))


def _order_nodes(operator: Node, chance: Chance) -> None:
    trees = _values(operator, "nodes_treeids")
    order = chance.permutation(len(trees)).tolist()
    if chance.random() < 0.9:
        numbers, ranks = _values(operator, "nodes_nodeids"), chance.permutation(len(trees))
        order.sort(key=lambda at: (ranks[trees.index(trees[at])], numbers[at] != 0 or chance.random() < 0.1))
    names = [f"nodes_{name}" for name in (*NODES, "missing_value_tracks_true")]
    _chosen(operator, names, order)


def _renumber(operator: Node, chance: Chance) -> None:
    count = len(_values(operator, "nodes_nodeids"))  # at least as many as a tree has, however odd their numbers are
    numbers = chance.permutation(count).tolist()
    for name in ("nodes_nodeids", "nodes_truenodeids", "nodes_falsenodeids", _weights(operator)[1]):
        values = _values(operator, name)
        _put(operator, name, [numbers[at] if 0 <= at < len(numbers) else at for at in values])


def _one(names: Sequence[str], odd: Sequence[Any]) -> Callable[[Node, Chance], None]:
    def bend(operator: Node, chance: Chance) -> None:
        lists = [*(f"nodes_{name}" for name in names if name in NODES), *_weights(operator)]
        found = [name for name in lists if name.split("_")[1] in names and _values(operator, name)]
        name = found[int(chance.integers(len(found)))]
        values = _values(operator, name)
        values[int(chance.integers(len(values)))] = odd[int(chance.integers(len(odd)))]
        _put(operator, name, values)

    return bend


def _some_targets(operator: Node, chance: Chance) -> None:
    name = _weights(operator)[2]
    _put(operator, name, chance.integers(0, int(chance.integers(1, 4)), len(_values(operator, name))).tolist())


def _small(operator: Node, chance: Chance) -> None:
    for name in ("nodes_values", _weights(operator)[3]):
        _put(operator, name, [value * 1e-40 for value in _values(operator, name)])


def _base(operator: Node, chance: Chance) -> None:
    _put(operator, "base_values", chance.normal(size=int(chance.integers(1, 5))).tolist())


def _missing(operator: Node, chance: Chance) -> None:
    count = len(_values(operator, "nodes_treeids"))
    _put(operator, "nodes_missing_value_tracks_true", chance.integers(-1, 3, count).tolist())


BENDS: Sequence[Callable[[Node, Chance], None]] = (
    *(_order_weights, _repeat_weights, _drop_weights, _order_nodes, _renumber, _some_targets, _small, _base, _missing),
    _one(("values", "weights"), ODD),
    _one(("treeids", "nodeids", "truenodeids", "falsenodeids", "featureids", "ids"), ODD_IDS),
    _one(("modes",), (b"LEAF", b"BRANCH_LT", b"BRANCH_LEQ", b"BRANCH_GT", b"branch_leq")),
)
