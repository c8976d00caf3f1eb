"""The operators of a graph as the method a data scientist would name."""

from collections import Counter

import onnx

from serving.engines.onnx_graph import Graph, Node, attribute, nodes, word
from serving.engines.onnx_task import Meaning
from serving.signature import Algorithm, Task

_FAMILIES = {
    "TreeEnsembleClassifier": "tree ensemble",
    "TreeEnsembleRegressor": "tree ensemble",
    "TreeEnsemble": "tree ensemble",
    "LinearClassifier": "linear model",
    "LinearRegressor": "linear model",
    "SVMClassifier": "support vector machine",
    "SVMRegressor": "support vector machine",
}
_ATTENTION = frozenset({"Attention", "MultiHeadAttention", "GroupQueryAttention", "QAttention", "PackedAttention"})
_CONVOLUTION = frozenset({"Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "FusedConv", "NhwcConv"})
_RECURRENT = frozenset({"LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"})
_NORMS = frozenset({"LayerNormalization", "SkipLayerNormalization", "SimplifiedLayerNormalization", "RMSNormalization"})
_DENSE = frozenset({"Gemm", "MatMul", "FusedMatMul", "QLinearMatMul", "MatMulInteger", "FusedGemm", "MatMulNBits"})
_ACTIVATIONS = frozenset(
    {"Relu", "Tanh", "Sigmoid", "LeakyRelu", "Elu", "Gelu", "Selu", "PRelu", "Softplus", "Swish", "Mish"}
)
_MOST_NAMED = 5


def read_algorithm(model: onnx.ModelProto, meaning: Meaning) -> Algorithm:
    """The method in words, and the operators it was read from."""
    counts = Counter(node.op_type for node in nodes(model))
    name = _deep(counts) or _by_task(Graph(model), counts, meaning.task)
    if name is None:
        name = "feature transformation" if model.producer_name == "skl2onnx" else "operator graph"
    return Algorithm(name, _detail(model, counts))


def _deep(counts: Counter[str]) -> str | None:
    operators = counts.keys()
    if operators & _ATTENTION or (operators & _NORMS and "Softmax" in operators and counts["MatMul"] >= 4):
        return "transformer"
    if operators & _CONVOLUTION:
        return "convolutional network"
    if operators & _RECURRENT:
        return "recurrent network"
    return None


def _by_task(graph: Graph, counts: Counter[str], task: Task) -> str | None:
    match task:
        case "clustering":
            return "Gaussian mixture" if "ReduceLogSumExp" in counts else "k-means"
        case "anomaly":
            return _outlier_detector(counts)
        case "dimension_reduction":
            return _projection(graph, counts)
        case _:
            return _estimator(graph, counts)


def _outlier_detector(counts: Counter[str]) -> str | None:
    if counts["TreeEnsembleRegressor"]:
        return "isolation forest"
    if counts["SVMRegressor"]:
        return "one-class support vector machine"
    if counts["TopK"]:
        return "local outlier factor"
    return "one-class linear model" if counts["MatMul"] else None


def _projection(graph: Graph, counts: Counter[str]) -> str:
    if counts["Scan"] or counts["CDist"]:
        return "kernel principal component analysis"
    projections = [node for node in graph.proto.node if node.op_type == "MatMul" and node.input]
    before = graph.maker(projections[-1].input[0]) if projections else None
    # scikit-learn's PCA centres on the mean, TruncatedSVD and random projections do not
    return "principal component analysis" if before is not None and before.op_type == "Sub" else "linear projection"


def _estimator(graph: Graph, counts: Counter[str]) -> str | None:
    families = {_FAMILIES[operator] for operator in counts if operator in _FAMILIES}
    if len(families) > 1:
        return "ensemble of " + " and ".join(sorted(families))
    if families == {"linear model"} and _is_logistic(graph):
        return "logistic regression"
    if families:
        return families.pop()
    if "GPmean" in {value.name for value in graph.proto.output}:
        return "Gaussian process"
    if counts["TopK"] and (counts["Scan"] or counts["CDist"]):
        return "k-nearest neighbours"
    if counts["CDist"] or counts["Scan"]:
        return "neighbours or kernel method"
    if counts["ReduceLogSumExp"] and counts["ArgMax"]:
        return "naive Bayes"
    if not counts.keys() & _DENSE:
        return None
    if counts.keys() & _ACTIVATIONS:
        return "neural network"
    if counts["Log"] and counts["ReduceMax"]:
        return "quadratic discriminant analysis"
    return "linear model" if sum(counts[operator] for operator in _DENSE) == 1 else "neural network"


def _is_logistic(graph: Graph) -> bool:
    found = [node for node in graph.proto.node if node.op_type == "LinearClassifier"]
    return bool(found) and all(word(node, "post_transform", "NONE") in {"LOGISTIC", "SOFTMAX"} for node in found)


def _detail(model: onnx.ModelProto, counts: Counter[str]) -> str:
    known = [operator for operator in counts if operator in _FAMILIES]
    operators = known or [operator for operator, _ in counts.most_common(_MOST_NAMED)]
    more = "" if known or len(counts) <= _MOST_NAMED else ", …"
    trees = sum(_trees(node) for node in model.graph.node)
    return ", ".join(operators) + more + (f", {trees} tree{'s' * (trees > 1)}" if trees else "")


def _trees(node: Node) -> int:
    if node.op_type not in _FAMILIES or _FAMILIES[node.op_type] != "tree ensemble":
        return 0
    roots = attribute(node, "tree_roots")
    if roots is not None:
        return len(roots.ints)
    trees = attribute(node, "nodes_treeids")
    return len(set(trees.ints)) if trees is not None else 0
