"""Forests by chance: the lists of ONNX's tree operators, as exporters write them and as they may be written, too."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from serving.engines.onnx_forest import ForestSession, read_trees_of
from serving.engines.onnx_rewriting import load_session
from serving.engines.onnx_runtime import Session
from serving.engines.onnx_trees import rows_around
from serving.native.forest import Forest
from serving.native.library import Library
from tests.serving.engines.onnx_models import model, node, tensor

WIDTH = 5
Chance = np.random.Generator


@dataclass(frozen=True)
class Lists:
    """The operator's lists of nodes, and the trees' and nodes' numbers of its leaves."""

    attributes: dict[str, Any]
    leaves: Sequence[tuple[int, int]]


def lists(
    chance: Chance, trees: int, splits: int, modes: Sequence[str] = ("BRANCH_LEQ",), *, has_missing: bool = False
) -> Lists:
    """Trees of up to so many splits each, grown leaf by leaf, so that some are deep and some are one leaf only."""
    rows: list[tuple[int, int, int, float, str, int, int, int]] = []
    for tree in range(trees):
        grown: list[list[Any]] = [_leaf()]
        for _ in range(int(chance.integers(0, splits + 1))):
            at = int(chance.choice([place for place, line in enumerate(grown) if line[2] == "LEAF"]))
            threshold, tracks = float(np.float32(chance.normal())), int(chance.integers(0, 2))
            grown[at] = [int(chance.integers(WIDTH)), threshold, str(chance.choice(modes)), tracks, len(grown)]
            grown[at].append(len(grown) + 1)
            grown += [_leaf(), _leaf()]
        rows += [(tree, number, *line) for number, line in enumerate(grown)]
    names = ("treeids", "nodeids", "featureids", "values", "modes", "missing_value_tracks_true")
    columns = list(zip(*rows, strict=True))
    attributes = {f"nodes_{name}": list(column) for name, column in zip(names, columns, strict=False)}
    attributes |= {"nodes_truenodeids": list(columns[6]), "nodes_falsenodeids": list(columns[7])}
    if not has_missing:
        del attributes["nodes_missing_value_tracks_true"]
    return Lists(attributes, [(row[0], row[1]) for row in rows if row[4] == "LEAF"])


def _leaf() -> list[Any]:
    return [0, 0.0, "LEAF", 0, 0, 0]


def weights(
    kind: str, leaves: Sequence[tuple[int, int]], ids: Sequence[int], values: NDArray[np.float64]
) -> dict[str, Any]:
    """A weight for each leaf."""
    return {
        f"{kind}_treeids": [tree for tree, _ in leaves],
        f"{kind}_nodeids": [number for _, number in leaves],
        f"{kind}_ids": list(ids),
        f"{kind}_weights": [float(value) for value in values],
    }


def regressor(chance: Chance, made: Lists, targets: int = 1, **others: Any) -> onnx.ModelProto:
    """Each leaf has a weight for one target, or for some of them."""
    leaves, ids = _given(chance, made, targets)
    told = weights("target", leaves, ids, chance.normal(size=len(leaves)))
    operator = node(
        "TreeEnsembleRegressor", "x", "y", "ai.onnx.ml", n_targets=targets, **made.attributes, **told, **others
    )
    return model([operator], [tensor("x", (None, WIDTH))], [tensor("y", (None, targets))])


def _given(chance: Chance, made: Lists, targets: int) -> tuple[list[tuple[int, int]], list[int]]:
    if targets == 1:
        return list(made.leaves), [0] * len(made.leaves)
    pairs = [(leaf, target) for leaf in made.leaves for target in range(targets) if chance.random() < 0.7]
    return [leaf for leaf, _ in pairs], [target for _, target in pairs]


def classifier(
    chance: Chance,
    made: Lists,
    labels: Sequence[int] | Sequence[str],
    values: NDArray[np.float64] | None = None,
    **others: object,
) -> onnx.ModelProto:
    """Two classes by the weights of the first one, more by weights for some; labels are cast as exporters do."""
    targets = 1 if len(labels) == 2 else len(labels)
    leaves, ids = _given(chance, made, targets)
    told = weights("class", leaves, ids, chance.normal(size=len(leaves)) if values is None else values[: len(leaves)])
    are_texts = isinstance(labels[0], str)
    called = {"classlabels_strings" if are_texts else "classlabels_int64s": list(labels)}
    nodes = [
        node("TreeEnsembleClassifier", "x", "l p", "ai.onnx.ml", **made.attributes, **told, **called, **others),
        node("Identity", "l", "label") if are_texts else node("Cast", "l", "label", to=TensorProto.INT64),
        node("Identity", "p", "scores"),
    ]
    label = tensor("label", (None,), TensorProto.STRING if are_texts else TensorProto.INT64)
    return model(nodes, [tensor("x", (None, WIDTH))], [label, tensor("scores", (None, len(labels)))])


BOTH = ("BRANCH_LEQ", "BRANCH_LT")
Make = Callable[[Chance], onnx.ModelProto]

MODELS: dict[str, Make] = {
    "a sum": lambda c: regressor(c, lists(c, 20, 30)),
    "a mean with a base value": lambda c: regressor(
        c, lists(c, 7, 60), aggregate_function="AVERAGE", base_values=[0.3]
    ),
    "one deep tree": lambda c: regressor(c, lists(c, 1, 400)),
    "leaves only": lambda c: regressor(c, lists(c, 3, 0)),
    "missing values on their way": lambda c: regressor(c, lists(c, 20, 30, BOTH, has_missing=True)),
    "below and at most": lambda c: regressor(c, lists(c, 20, 30, BOTH)),
    "several targets": lambda c: regressor(c, lists(c, 20, 10), 3),
    "means of several targets": lambda c: regressor(
        c, lists(c, 20, 10), 3, aggregate_function="AVERAGE", base_values=[0.1, -0.2, 7.5]
    ),
    "two classes": lambda c: classifier(c, lists(c, 20, 20), [7, -3], c.random(500) / 20),
    "two classes with a base value": lambda c: classifier(
        c, lists(c, 20, 20), [0, 1], c.random(500) / 20, base_values=[0.1]
    ),
    "two margins": lambda c: classifier(c, lists(c, 20, 20), [0, 1]),
    "boosted, two classes": lambda c: classifier(c, lists(c, 20, 20), [0, 1], post_transform="LOGISTIC"),
    "two texts": lambda c: classifier(c, lists(c, 20, 20), ["no", "ja, schön"], post_transform="LOGISTIC"),
    "some classes": lambda c: classifier(c, lists(c, 20, 20), [3, 1, 2], c.random(2000)),
    "some texts": lambda c: classifier(c, lists(c, 20, 20), ["a", "", "c"], c.random(2000)),
    "classes that rows leave out": lambda c: classifier(c, lists(c, 2, 5), [3, 1, 2, 9]),
    "boosted": lambda c: classifier(c, lists(c, 20, 20), [0, 1, 2], post_transform="SOFTMAX", base_values=[0.5, -1, 0]),
    "boosted, without base values": lambda c: classifier(c, lists(c, 20, 20), [0, 1, 2], post_transform="SOFTMAX"),
}  # fmt: skip


def sessions(made: onnx.ModelProto, folder: Path, library: Library, threads: int = 1) -> tuple[Session, ForestSession]:
    path = folder / "model.onnx"
    path.write_bytes(made.SerializeToString())
    session, model = load_session(path, 1), read_trees_of(path)
    return session, ForestSession(session, Forest(library, model.trees, threads), model)


def same(theirs: list[NDArray[Any]], ours: list[NDArray[Any]]) -> bool:
    return all(
        their.dtype == our.dtype and their.shape == our.shape
        and (their.tolist() == our.tolist() if their.dtype == object else their.tobytes() == our.tobytes())
        for their, our in zip(theirs, ours, strict=True)
    )  # fmt: skip


def compare(folder: Path, library: Library, seed: int) -> None:
    """Ask some model about some rows, both ways. Raises `AssertionError` where the answers differ."""
    chance = np.random.default_rng(seed)
    name = list(MODELS)[seed % len(MODELS)]
    session, quick = sessions(MODELS[name](chance), folder, library)
    rows = rows_around(quick.model.trees, int(chance.integers(1, 1500)), chance)
    ours = quick.told(quick.model.outputs, rows)
    theirs = session.run(quick.model.outputs, {"x": rows})
    assert ours is None or same(theirs, ours), f"{name}, seed {seed}"
