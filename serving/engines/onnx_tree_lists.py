"""A tree operator's lists as a forest in memory.

The lists are defined in ai.onnx.ml-3 (TreeEnsembleRegressor, TreeEnsembleClassifier); what that leaves open (how the
scores of two classes are told, say) is as ONNX Runtime does it. Whatever is not read here is the runtime's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from serving.engines.onnx_graph import Node, attribute, number, word
from serving.native.forest import NODE, SPLIT, TAKES_MISSING, WEIGHT, Finish, Link, Trees

_DOUBLES: Final = "_as_tensor"  # so end the names of lists in FP64
_MOST_NODES: Final = 2**30
_LEAF, _AT_MOST, _BELOW = b"LEAF", b"BRANCH_LEQ", b"BRANCH_LT"
Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Truths = NDArray[np.bool_]


class NotTrees(Exception):
    """The model is no forest that is read here; the message says why."""


@dataclass(frozen=True, slots=True)
class _Nodes:
    """One item for each node of all trees."""

    tree: Ints  # counted from 0
    starts: Ints  # of each tree: its root
    is_split: Truths
    features: Ints
    values: Floats
    takes_missing: Truths
    true: Ints  # places here, where it is a split
    false: Ints


@dataclass(frozen=True, slots=True)
class _Weights:
    """One item for each weight of a leaf, in the order in which they are added."""

    node: Ints
    target: Ints
    value: Floats


@dataclass(frozen=True, slots=True)
class _Way:
    """What is made of the sums."""

    targets: int
    finish: Finish
    link: Link
    base: Floats | None
    labels: Ints | None


def class_texts(node: Node) -> Sequence[str] | None:
    """What the classes are called, where these are texts. Raises `NotTrees`."""
    found = attribute(node, "classlabels_strings")
    try:
        return None if found is None or not found.strings else [text.decode() for text in found.strings]
    except UnicodeDecodeError as error:
        raise NotTrees("what a class is called is no text") from error


def read_trees(node: Node, width: int) -> Trees:
    """The forest that the operator is, for rows of so many numbers. Raises `NotTrees`."""
    if any(item.name.endswith(_DOUBLES) for item in node.attribute):
        raise NotTrees("it is in FP64")
    lists, places = _read_nodes(node)
    weights = _read_weights(node, lists, places)
    way = _regression(node) if node.op_type == "TreeEnsembleRegressor" else _classification(node, weights)
    order = _order(lists)
    place = np.full(len(lists.tree), -1)
    place[order] = np.arange(len(order))
    nodes, first, listed = _laid_out(lists, order, place), None, None
    if way.targets == 1:
        nodes["value"] = np.where(lists.is_split, lists.values, _only_weights(lists, weights))[order]
    else:
        first, listed = _listed(weights, place, len(order), way.targets)
    return Trees(
        nodes=nodes,
        roots=place[lists.starts].astype(np.int32),
        width=width,
        targets=way.targets,
        finish=way.finish,
        link=way.link,
        first=first,
        weights=listed,
        base=way.base,
        labels=way.labels,
        has_missing=bool((lists.takes_missing & lists.is_split).any()),
        has_all=way.base is not None or _reaches_all(lists, weights, way.targets),
    )


def _laid_out(lists: _Nodes, order: Ints, place: Ints) -> NDArray[np.void]:
    nodes, is_split = np.zeros(len(order), NODE), lists.is_split[order]
    nodes["value"] = lists.values[order]
    nodes["kind"] = np.where(is_split, SPLIT | lists.takes_missing[order] * TAKES_MISSING, 0)
    nodes["feature"] = np.where(is_split, lists.features[order], 0)
    nodes["below"] = np.where(is_split, place[lists.true[order]], place[order])
    return nodes


def _ints(node: Node, name: str) -> Ints:
    found = attribute(node, name)
    return np.fromiter(found.ints, np.int64, len(found.ints)) if found is not None else np.zeros(0, np.int64)


def _floats(node: Node, name: str) -> Floats:
    found = attribute(node, name)
    return np.fromiter(found.floats, np.float32, len(found.floats)) if found is not None else np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True)
class _Places:
    """Where a node is, by the numbers of its tree and its own."""

    keys: Ints
    at: Ints
    trees: Ints

    def of(self, trees: Ints, numbers: Ints) -> Ints:
        """Raises `NotTrees` for a node that is not there."""
        keys = _keys(trees, numbers)
        found = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        if not (self.keys[found] == keys).all():
            raise NotTrees("a node is named that is not there")
        return self.at[found]


def _keys(trees: Ints, numbers: Ints) -> Ints:
    if len(trees) != len(numbers):
        raise NotTrees("its lists are of different lengths")
    if any(part.size and (part.min() < 0 or part.max() >= 2**31) for part in (trees, numbers)):
        raise NotTrees("a node has a negative number")
    return trees * 2**31 + numbers


def _read_nodes(node: Node) -> tuple[_Nodes, _Places]:
    trees, numbers = _ints(node, "nodes_treeids"), _ints(node, "nodes_nodeids")
    keys = _keys(trees, numbers)
    modes = attribute(node, "nodes_modes")
    listed = list(modes.strings) if modes is not None else []
    values, features = _floats(node, "nodes_values"), _ints(node, "nodes_featureids")
    if not 0 < len(keys) < _MOST_NODES or not len(keys) == len(listed) == len(values) == len(features):
        raise NotTrees("its lists are of different lengths")
    if not set(listed) <= {_LEAF, _AT_MOST, _BELOW}:
        raise NotTrees("it compares otherwise than by ≤ and <")
    by_key = np.argsort(keys, kind="stable")
    places = _Places(keys[by_key], by_key, trees)
    is_first = np.concatenate([[True], trees[1:] != trees[:-1]])
    if (np.diff(places.keys) == 0).any() or is_first.sum() != len(np.unique(trees[is_first])):
        raise NotTrees("a node is there twice, or a tree in parts")
    is_split = np.array([mode != _LEAF for mode in listed])
    true, false = (
        np.where(is_split, _sides(node, name, places, is_split, trees), -1)
        for name in ("nodes_truenodeids", "nodes_falsenodeids")
    )
    lists = _Nodes(
        *(np.cumsum(is_first) - 1, np.flatnonzero(is_first), is_split, features),
        _thresholds(values, np.array([mode == _BELOW for mode in listed])),
        *(_takes_missing(node, len(keys)), true, false),
    )
    return lists, places


def _sides(node: Node, name: str, places: _Places, is_split: Truths, trees: Ints) -> Ints:
    numbers, sides = _ints(node, name), np.zeros(len(trees), np.int64)
    if len(numbers) != len(trees):
        raise NotTrees("its lists are of different lengths")
    sides[is_split] = places.of(trees[is_split], numbers[is_split])
    return sides


def _thresholds(values: Floats, is_below: Truths) -> Floats:
    """What a number may be at most, to be below or at its threshold."""
    if np.isneginf(values[is_below]).any():
        raise NotTrees("nothing is below a threshold")
    return np.where(is_below, np.nextafter(values, np.float32(-np.inf)), values)


def _takes_missing(node: Node, count: int) -> Truths:
    tracks = _ints(node, "nodes_missing_value_tracks_true")
    if len(tracks) not in (0, count):
        raise NotTrees("its lists are of different lengths")
    return tracks == 1 if len(tracks) else np.zeros(count, np.bool_)


def _read_weights(node: Node, lists: _Nodes, places: _Places) -> _Weights:
    """Those of leaves; others are nobody's."""
    kind = "target" if node.op_type == "TreeEnsembleRegressor" else "class"
    at = places.of(_ints(node, f"{kind}_treeids"), _ints(node, f"{kind}_nodeids"))
    targets, values = _ints(node, f"{kind}_ids"), _floats(node, f"{kind}_weights")
    if not len(at) == len(targets) == len(values):
        raise NotTrees("its lists are of different lengths")
    counted = np.flatnonzero(~lists.is_split[at])
    return _Weights(at[counted], targets[counted], values[counted])


def _regression(node: Node) -> _Way:
    finishes: dict[str, Finish] = {"SUM": "sums", "AVERAGE": "averages"}
    finish, targets = finishes.get(word(node, "aggregate_function", "SUM")), number(node, "n_targets")
    base = _floats(node, "base_values")
    if finish is None or word(node, "post_transform", "NONE") != "NONE" or len(base) not in (0, targets):
        raise NotTrees("it makes something else of its leaves than a sum or a mean")
    if not len(base):  # one target is added a zero, which makes 0 of -0
        return _Way(targets, finish, "none", np.zeros(1, np.float32) if targets == 1 else None, None)
    return _Way(targets, finish, "none", base, None)


def _classification(node: Node, weights: _Weights) -> _Way:
    texts = class_texts(node)
    labels = _ints(node, "classlabels_int64s") if texts is None else np.arange(len(texts))
    base = _floats(node, "base_values")
    links: dict[str, Link] = {"NONE": "none", "LOGISTIC": "logistic", "SOFTMAX": "softmax"}
    link = links.get(word(node, "post_transform", "NONE"))
    is_positive = bool((weights.value >= 0).all())
    if len(labels) > 2 and link in ("none", "softmax") and len(base) in (0, len(labels)):
        return _Way(len(labels), "classes", link, base if len(base) else None, labels)
    if len(labels) == 2 and len(base) < 2 and not weights.target.any():
        if is_positive and link == "none":
            return _Way(1, "two_classes", link, base if len(base) else None, labels)
        if not is_positive and link in ("none", "logistic"):
            return _Way(1, "two_margins", link, base if len(base) else None, labels)
    raise NotTrees("it tells its classes in another way")


def _order(lists: _Nodes) -> Ints:
    """The nodes tree by tree, each from its root down, both sides of a split beside each other."""
    levels, found = [lists.starts], len(lists.starts)
    while (splits := levels[-1][lists.is_split[levels[-1]]]).size:
        levels.append(np.stack([lists.true[splits], lists.false[splits]], axis=1).reshape(-1))
        found += levels[-1].size
        if found > len(lists.tree):
            raise NotTrees("a node is below two others")
    order = np.concatenate(levels)
    if np.bincount(order).max() > 1:
        raise NotTrees("a node is below two others")
    return order[np.argsort(lists.tree[order], kind="stable")]


def _only_weights(lists: _Nodes, weights: _Weights) -> Floats:
    """Each leaf's one weight."""
    counts = np.bincount(weights.node, minlength=len(lists.tree))
    if weights.target.any() or not (counts[~lists.is_split] == 1).all():
        raise NotTrees("a leaf has none or more than one weight")
    values = np.zeros(len(lists.tree), np.float32)
    values[weights.node] = weights.value
    return values


def _listed(weights: _Weights, place: Ints, count: int, targets: int) -> tuple[NDArray[np.int32], NDArray[np.void]]:
    """Where each node's weights begin, and all of them."""
    at = place[weights.node]
    if weights.target.size and not 0 <= weights.target.min() <= weights.target.max() < targets:
        raise NotTrees("a weight is no target's")
    kept = at >= 0
    by_node = np.flatnonzero(kept)[np.argsort(at[kept], kind="stable")]
    listed = np.zeros(len(by_node), WEIGHT)
    listed["target"], listed["value"] = weights.target[by_node], weights.value[by_node]
    counts = np.bincount(at[kept], minlength=count)
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int32), listed


def _reaches_all(lists: _Nodes, weights: _Weights, targets: int) -> bool:
    """Whether each class has a tree whose every leaf has a weight for it, so that no row leaves one out."""
    pairs = np.sort(weights.node * np.int64(targets) + weights.target)
    pairs = pairs[np.concatenate([[True], np.diff(pairs) > 0])]
    trees, classes = lists.tree[pairs // targets], pairs % targets
    told = np.zeros((len(lists.starts), targets), np.int64)
    np.add.at(told, (trees, classes), 1)
    leaves = np.bincount(lists.tree[~lists.is_split], minlength=len(lists.starts))
    return bool((told == leaves[:, None]).any(axis=0).all())
