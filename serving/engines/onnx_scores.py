"""Tells probabilities from decision scores: exporters call both `probabilities`."""

from collections.abc import Iterable

from serving.engines.onnx_graph import PASSING, Graph, Node, attribute, number, word

_SEEN_THROUGH = PASSING | {"Slice", "ReduceMean"}
_PROBABLE = frozenset({"Softmax", "Sigmoid", "Normalizer", "Div", "Exp", "Reciprocal", "HardSigmoid", "Erf"})
_MIXED = frozenset({"Sum", "Add", "Sub", "Mul", "Concat", "Mean", "Where", "Max", "Min"})
_LINKS = frozenset({"LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT"})
_DEEPEST = 8
_MOST_VISITS = 200


def are_probabilities(graph: Graph, name: str) -> bool:
    """Whether the class scores in this tensor are probabilities: the operators that make them say so, or, where they
    are unknown, the name does."""
    waiting = [(name, 0)]
    for _ in range(_MOST_VISITS):
        if not waiting:
            return True
        tensor, depth = waiting.pop()
        node = graph.origin(tensor, _SEEN_THROUGH)
        if node is None or depth > _DEEPEST:
            return "prob" in name.lower()
        if node.op_type in _MIXED:
            waiting += [(part, depth + 1) for part in node.input if part and not _is_constant(graph, part)]
        elif not _decides(node):
            return False
    return False


def _is_constant(graph: Graph, name: str) -> bool:
    return graph.is_constant(graph.source(name))


def _decides(node: Node) -> bool:
    match node.op_type:
        case "SVMClassifier":
            return attribute(node, "prob_a") is not None
        case "LinearClassifier":
            return word(node, "post_transform", "NONE") in _LINKS
        case "TreeEnsembleClassifier":
            return word(node, "post_transform", "NONE") in _LINKS or _within_one(node)
        case "TreeEnsemble":
            return number(node, "post_transform") in {1, 2, 3, 4}
        case "Normalizer":
            return word(node, "norm", "MAX") == "L1"
        case op:
            return op in _PROBABLE


def _within_one(node: Node) -> bool:
    """A forest adds up probabilities in its leaves; boosted trees without a link add up margins of any sign."""
    found = attribute(node, "class_weights") or attribute(node, "class_weights_as_tensor")
    weights: Iterable[float] = found.floats if found is not None else ()
    return all(0 <= weight <= 1.0001 for weight in weights)
