"""Trees that hide from what is tried at load, or make that slow or large: they are onnxruntime's."""

import dataclasses
import gc
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.helper
import pytest

from serving.engines.onnx_forest import answers_alike, compiled, quickened
from serving.engines.onnx_rewriting import load_session
from serving.engines.onnx_tree_lists import NotTrees
from serving.engines.onnx_tree_rows import rows_around
from serving.engines.onnx_trees import tree_model
from serving.native.forest import Forest
from serving.native.library import Library
from tests.serving.engines.onnx_models import model, node, tensor
from tests.serving.native.bent_trees import compare_bent
from tests.serving.native.test_forest import one_tree
from tests.serving.native.tree_models import MODELS, WIDTH, classifier, lists, regressor, seed_of, sessions, weights

# A tree, a node, and what the node is: `None` for a leaf, else a feature, a threshold, and the two below it.
Line = tuple[int, int, tuple[int, float, int, int] | None]
Weight = tuple[int, int, int, float]

# The node 3 is for rows whose first two numbers are below all thresholds of the other trees.
RARE: list[Line] = [(0, 0, (0, -1e37, 1, 2)), (0, 1, (1, -1e37, 3, 4)), (0, 2, None), (0, 3, None), (0, 4, None)]
STUMPS = 400


def with_stumps(tree: Sequence[Line], weights: Sequence[Weight], kind: str, value: float, targets: int = 1) -> Any:
    """The tree and its weights among many others, which hide it from rows around all thresholds."""
    lines, told = list(tree), list(weights)
    for at in range(1, STUMPS + 1):
        lines += [(at, 0, (at % 2, at / 50, 1, 2)), (at, 1, None), (at, 2, None)]
        told += [(at, leaf, leaf % targets, value) for leaf in (1, 2)]
    splits = [split or (0, 0.0, 0, 0) for _, _, split in lines]
    return {
        "nodes_treeids": [line[0] for line in lines],
        "nodes_nodeids": [line[1] for line in lines],
        "nodes_modes": ["LEAF" if split is None else "BRANCH_LEQ" for _, _, split in lines],
        "nodes_featureids": [split[0] for split in splits],
        "nodes_values": [split[1] for split in splits],
        "nodes_truenodeids": [split[2] for split in splits],
        "nodes_falsenodeids": [split[3] for split in splits],
        f"{kind}_treeids": [weight[0] for weight in told],
        f"{kind}_nodeids": [weight[1] for weight in told],
        f"{kind}_ids": [weight[2] for weight in told],
        f"{kind}_weights": [weight[3] for weight in told],
    }


def hidden(tree: Sequence[Line], weights: Sequence[Weight], labels: int = 0, value: float = 0.0) -> onnx.ModelProto:
    """A regressor, or a classifier with so many labels, of this tree among others."""
    x = [tensor("x", (None, WIDTH))]
    if not labels:
        given = with_stumps(tree, weights, "target", value)
        return model([node("TreeEnsembleRegressor", "x", "y", "ai.onnx.ml", n_targets=1, **given)], x, [
            tensor("y", (None, 1))])  # fmt: skip
    given = with_stumps(tree, weights, "class", value, 1 if labels == 2 else labels)
    operator = node("TreeEnsembleClassifier", "x", "l p", "ai.onnx.ml", classlabels_int64s=range(labels), **given)
    return model([operator], x, [tensor("l", (None,), onnx.TensorProto.INT64), tensor("p", (None, labels))])


def in_function(called: str, domain: str) -> onnx.ModelProto:
    """A sum of trees, behind or instead of a function of the model that is named like an operator."""
    made = regressor(np.random.default_rng(1), lists(np.random.default_rng(1), 5, 5))
    names = [item.name for item in made.graph.node[0].attribute] if domain else []
    body = [onnx.helper.make_node("Clip", ["a", "", "most"], ["b"])]
    most = [onnx.helper.make_node("Constant", [], ["most"], value_float=1e30)]
    opsets = [onnx.helper.make_opsetid("", 17)]
    made.functions.append(
        onnx.helper.make_function(domain or "mine", called, ["a"], ["b"], [*most, *body], opsets, names)
    )
    if not domain:
        made.opset_import.append(onnx.helper.make_opsetid("mine", 1))
        made.graph.node[0].output[0] = "sum"
        made.graph.node.append(onnx.helper.make_node(called, ["sum"], ["y"], domain="mine"))
    return made


def left_out() -> onnx.ModelProto:
    """Sums for two targets with base values, of which rows may have no weight for the second."""
    chance = np.random.default_rng(5)
    made = lists(chance, 1, 3)
    told = weights("target", made.leaves, [0, 1, 0, 1][: len(made.leaves)], np.ones(len(made.leaves)))
    given = {**made.attributes, **told, "n_targets": 2, "base_values": [0.5, 0.25]}
    operator = node("TreeEnsembleRegressor", "x", "y", "ai.onnx.ml", **given)
    return model([operator], [tensor("x", (None, WIDTH))], [tensor("y", (None, 2))])


SOME: list[Weight] = [(0, 2, 0, 2.0**30), (0, 4, 0, 2.0**30), (0, 3, 0, 0.25)]


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (hidden(RARE, [(0, 2, 1, 1.0), (0, 4, 1, 1.0), (0, 3, 1, np.nan), (0, 3, 2, 1.0)], 3, 0.1), "not finite"),
        (hidden(RARE, [(0, 2, 0, 1.0), (0, 4, 0, 1.0), (0, 3, 0, np.inf)]), "not finite"),
        (hidden(RARE, [*SOME, (0, 0, 0, -1.0)], 2), "a split has a weight"),
        (hidden(RARE, [*SOME, (0, 0, 1, 1.0)], 2), "a split has a weight"),
        (hidden([RARE[2], *RARE[:2], *RARE[3:]], SOME), "below no other"),
        (left_out(), "left out"),
        (in_function("Identity", ""), "a function"),
        (in_function("TreeEnsembleRegressor", "ai.onnx.ml"), "a function"),
    ],
    ids=["no number", "infinite", "a sign", "a class", "two roots", "left out", "a function", "a function for trees"],
)
def test_what_would_differ_on_few_rows_is_the_runtimes(
    made: onnx.ModelProto, reason: str, tmp_path: Path, library: Library
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(made.SerializeToString())
    session = load_session(path, 1)
    with pytest.raises(NotTrees, match=reason):
        compiled(session, path, library)
    assert quickened(session, path, 1) is session


def large(width: int, trees: int = 1, targets: int = 1) -> onnx.ModelProto:
    """Trees of one leaf each over so large a row."""
    many, zeros = list(range(trees)), [0] * trees
    given: dict[str, Any] = {
        f"nodes_{name}": zeros for name in ("nodeids", "featureids", "truenodeids", "falsenodeids")
    }
    told = {"target_treeids": many, "target_nodeids": zeros, "target_ids": zeros, "target_weights": [1.0] * trees}
    given |= {"nodes_values": [0.0] * trees, "nodes_modes": ["LEAF"] * trees, "nodes_treeids": many, **told}
    return model(
        [node("TreeEnsembleRegressor", "x", "y", "ai.onnx.ml", n_targets=targets, **given)],
        [tensor("x", (None, width))],
        [tensor("y", (None, targets))],
    )


def long_way(splits: int) -> onnx.ModelProto:
    """One tree of splits below each other among others, which any row may have to walk as long."""
    tree: list[Line] = [(0, at, (0, 0.5, at + 1, splits + 1 + at)) for at in range(splits)]
    tree += [(0, at, None) for at in range(splits, 2 * splits + 1)]
    return hidden(tree, [(0, at, 0, 1.0) for at in range(splits, 2 * splits + 1)])


@pytest.mark.parametrize(
    "made",
    [large(2**40), large(5000), large(5, targets=2**31), large(5, 1000, 5000), long_way(350)],
    ids=["of 2**40 numbers", "a wide row", "2**31 targets", "many targets", "a long way"],
)
def test_what_takes_long_to_be_tried_is_not(made: onnx.ModelProto) -> None:
    begun = time.process_time()
    with pytest.raises(NotTrees, match="to be tried"):
        tree_model(made)
    assert time.process_time() - begun < 5


def test_trees_bent_by_chance_answer_alike_or_are_the_runtimes(tmp_path: Path, library: Library) -> None:
    assert sum(compare_bent(tmp_path, library, seed) for seed in range(60)) > 15


def test_how_long_a_row_may_walk_is_known() -> None:
    """It says for how long nobody else may use the interpreter."""
    assert tree_model(large(5)).trees.depth == 1
    assert tree_model(long_way(300)).trees.depth == 301


def test_a_file_that_is_gone_or_damaged_since_leaves_the_runtimes_session(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(MODELS["a sum"](np.random.default_rng(1)).SerializeToString())
    session = load_session(path, 1)
    path.write_bytes(path.read_bytes()[:-100])
    assert quickened(session, path, 1) is session
    path.unlink()
    assert quickened(session, path, 1) is session


def test_trees_that_never_tell_are_the_runtimes(tmp_path: Path, library: Library) -> None:
    """No class is above zero, and none is told by each leaf of a tree."""
    chance = np.random.default_rng(2)
    session, quick = sessions(
        classifier(chance, lists(chance, 3, 5), [0, 1, 2, 3], -chance.random(500)), tmp_path, library
    )
    with pytest.raises(NotTrees, match="could be told"):
        answers_alike(session, quick)


@pytest.mark.parametrize(("dropped", "has_all"), [(0, True), (1, False)])
def test_it_is_known_whether_each_row_has_a_weight_for_each_class(dropped: int, has_all: bool) -> None:
    whole = [(0, leaf, target, 1.0) for leaf in (2, 3, 4) for target in range(3)]
    assert tree_model(hidden(RARE, whole[dropped:], 3, 0.1)).trees.has_all is has_all


def test_a_bound_call_keeps_its_arrays(library: Library) -> None:
    rows, scores, labels = np.zeros((3, 2), np.float32), np.zeros((3, 2), np.float32), np.zeros(3, np.int64)
    two = dataclasses.replace(one_tree(), finish="two_classes", labels=np.arange(2))
    kept = [weakref.ref(array) for array in (rows, scores, labels)]
    run = Forest(library, two).bound(rows, scores, labels)
    del rows, scores, labels
    gc.collect()
    assert all(array() is not None for array in kept)
    assert run()


def test_labels_alone_are_told_between_arrays(tmp_path: Path, library: Library) -> None:
    chance = np.random.default_rng(3)
    made = classifier(chance, lists(chance, 20, 20), [7, -3])
    del made.graph.output[1]
    session, quick = sessions(made, tmp_path, library)
    rows, labels = rows_around(quick.model.trees, 600, seed_of(chance)), np.zeros(600, np.int64)
    run = quick.bind({"x": rows}, {"label": labels}, [])
    others = [np.full((600, 2), 7, np.float32) for _ in range(20)]
    run()
    assert all((other == 7).all() for other in others)
    assert labels.tolist() == session.run(["label"], {"x": rows})[0].tolist()


def test_rows_stand_around_all_thresholds(tmp_path: Path, library: Library) -> None:
    chance = np.random.default_rng(4)
    _, quick = sessions(MODELS["missing values on their way"](chance), tmp_path, library)
    nodes = quick.model.trees.nodes
    splits = nodes[nodes["kind"] > 0]
    rows = rows_around(quick.model.trees, 4_000, seed_of(chance))
    for feature in range(WIDTH):
        for threshold in np.unique(splits["value"][splits["feature"] == feature]):
            beside = (np.nextafter(threshold, np.float32(-np.inf)), threshold, np.nextafter(threshold, np.float32(9)))
            assert np.isin(beside, rows[:, feature]).all()
    assert np.isnan(rows).any(axis=0).all()
