"""Reads from a graph what its outputs mean: the task, the role of each output, and the classes it counts.

It follows each output back to the operator that decides it, the way skl2onnx and onnxmltools write estimators; a graph
of another make stays task `tensor` unless it ends in one of ONNX's own classifiers or regressors.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from serving.engines.onnx_graph import PASSING, Graph, Node, Scalar, python_scalar, scalars
from serving.engines.onnx_scores import are_probabilities
from serving.engines.onnx_types import FLOATING, TensorType
from serving.signature import Role, Task

Labels = tuple[Scalar, ...]

CLASSIFIERS = frozenset({"TreeEnsembleClassifier", "LinearClassifier", "SVMClassifier"})
REGRESSORS = frozenset({"TreeEnsembleRegressor", "LinearRegressor", "SVMRegressor", "TreeEnsemble"})
_CLASS_ATTRIBUTES = ("classlabels_strings", "classlabels_int64s", "classlabels_ints")
_TOWARDS_CLASSIFIER = PASSING | {"Normalizer", "Softmax"}
# Steps after a projection (whitening, a log link): they leave its columns what they are.
_ELEMENTWISE = PASSING | {"Exp", "Div"}


@dataclass(frozen=True, slots=True)
class Meaning:
    """The task, and by output its role, what its last axis counts (for a label: the values it may take) and, where
    there are several targets, which of them it scores: the position of the label's column."""

    task: Task
    roles: Mapping[str, Role] = field(default_factory=dict)
    labels: Mapping[str, Labels] = field(default_factory=dict)
    targets: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outputs:
    """A graph with its outputs, and the labels of those that a ZipMap named."""

    graph: Graph
    types: Mapping[str, TensorType]
    zipped: Mapping[str, Labels]
    producer: str
    operators: frozenset[str]

    @property
    def discrete(self) -> list[str]:
        return [name for name, kind in self.types.items() if kind.datatype not in FLOATING]

    @property
    def floating(self) -> list[str]:
        return [name for name, kind in self.types.items() if kind.datatype in FLOATING]

    def width(self, name: str) -> int:
        """The last dimension of a matrix; -1 where free or no matrix."""
        shape = self.types[name].shape
        return shape[-1] if len(shape) > 1 else -1


def read_meaning(outputs: Outputs) -> Meaning:
    """The first task whose marks the graph bears."""
    for read in (_classification, _clustering, _anomaly, _regression, _reduction):
        meaning = read(outputs)
        if meaning is not None:
            return meaning
    return Meaning("tensor")


def _classification(outputs: Outputs) -> Meaning | None:
    graph = outputs.graph
    classes = {name: found for name in outputs.discrete if (found := _label_classes(graph, name)) is not None}
    scored = {name: found for name in outputs.floating if (found := _score_classes(graph, name))}
    scored |= outputs.zipped
    if not classes and not scored:
        return None
    known = next((found for found in [*classes.values(), *outputs.zipped.values()] if found), ())
    roles: dict[str, Role] = {}
    labels: dict[str, Labels] = {}
    for name in outputs.discrete:
        if name in classes or outputs.zipped:
            roles[name], labels[name] = "label", classes.get(name) or (known if not classes else ())
    for name in outputs.floating:
        counted = scored.get(name) or (known if known and outputs.width(name) == len(known) else None)
        counted = counted or _column_class(name, known)
        if counted:
            roles[name], labels[name] = _score_role(graph, name), counted
    matrices = [name for name in outputs.floating if len(labels.get(name, ())) > 1]
    targets = {name: str(position) for position, name in enumerate(matrices)} if len(matrices) > 1 else {}
    return Meaning("classification", roles, {name: found for name, found in labels.items() if found}, targets)


def _score_role(graph: Graph, name: str) -> Role:
    return "probability" if are_probabilities(graph, name) else "score"


def _label_classes(graph: Graph, name: str) -> Labels | None:
    """The classes a discrete output chooses from; empty where it is a label of several targets; `None` if no label."""
    node = graph.origin(name)
    if node is None:
        return None
    if node.op_type in CLASSIFIERS and graph.source(name) == node.output[0]:
        return scalars(node, *_CLASS_ATTRIBUTES) or ()
    if node.op_type in {"ArrayFeatureExtractor", "Gather"} and len(node.input) > 1:
        chosen = graph.constant(node.input[0])
        picked = graph.origin(node.input[1])
        if chosen is not None and picked is not None and picked.op_type in {"ArgMax", "TopK"}:
            return tuple(python_scalar(item) for item in chosen.ravel().tolist())
    if node.op_type == "LabelEncoder" and _chooses(graph, node):
        return scalars(node, "values_strings", "values_int64s", "classes_strings", "values_tensor")
    if node.op_type == "Concat" and all(_label_classes_of_part(graph, part) for part in node.input):
        return ()
    return None


def _label_classes_of_part(graph: Graph, name: str) -> bool:
    """Whether one column of a multi-target label is a label; parts are no Concat themselves (no recursion)."""
    node = graph.origin(name)
    return node is not None and node.op_type != "Concat" and bool(_label_classes(graph, name))


def _chooses(graph: Graph, encoder: Node) -> bool:
    node = graph.origin(encoder.input[0]) if encoder.input else None
    return node is not None and (node.op_type in CLASSIFIERS or node.op_type == "ArgMax")


def _score_classes(graph: Graph, name: str) -> Labels | None:
    node = graph.origin(name, _TOWARDS_CLASSIFIER)
    return scalars(node, *_CLASS_ATTRIBUTES) if node is not None and node.op_type in CLASSIFIERS else None


def _column_class(name: str, classes: Labels) -> Labels | None:
    """skl2onnx's zipmap='columns' names one output per class: `s` + a string class, `i` + an integer one."""
    return next(((item,) for item in classes if name == f"{'s' if isinstance(item, str) else 'i'}{item}"), None)


def _clustering(outputs: Outputs) -> Meaning | None:
    cluster = next((name for name in outputs.discrete if _op(outputs.graph, name) == "ArgMin"), None)
    role: Role = "distance"
    if cluster is None and {"ReduceLogSumExp", "ReduceSumSquare"} <= outputs.operators:  # a Gaussian mixture
        cluster = next((name for name in outputs.discrete if _op(outputs.graph, name) == "ArgMax"), None)
        role = "affinity"
    if cluster is None:
        return None
    roles: dict[str, Role] = {cluster: "cluster"}
    labels: dict[str, Labels] = {}
    for name in outputs.floating:
        if outputs.width(name) > 0:
            roles[name], labels[name] = role, tuple(range(outputs.width(name)))
            labels[cluster] = labels[name]
    return Meaning("clustering", roles, labels)


def _anomaly(outputs: Outputs) -> Meaning | None:
    """skl2onnx calls the outputs of all outlier detectors `label` (-1 or 1) and `scores`."""
    if len(outputs.discrete) != 1 or not outputs.floating:
        return None
    label = outputs.discrete[0]
    named = label == "label" and "scores" in outputs.floating and outputs.producer == "skl2onnx"
    if not named and _op(outputs.graph, label) != "Sign":
        return None
    scores: dict[str, Role] = dict.fromkeys(outputs.floating, "score")
    return Meaning("anomaly", scores | {label: "anomaly"}, {label: (-1, 1)})


def _regression(outputs: Outputs) -> Meaning | None:
    if outputs.discrete or not outputs.floating:
        return None
    first = outputs.floating[0]
    if not outputs.operators & REGRESSORS and not (outputs.producer == "skl2onnx" and _is_regressor(outputs, first)):
        return None
    roles: dict[str, Role] = {first: "value"}
    if "GPcovstd" in outputs.types:  # skl2onnx's return_std
        roles["GPcovstd"] = "confidence"
    return Meaning("regression", roles)


def _is_regressor(outputs: Outputs, name: str) -> bool:
    """Regressors that skl2onnx writes in plain operators: neural networks, generalised linear models, neighbours."""
    if name == "GPmean" or ("TopK" in outputs.operators and outputs.width(name) == 1):
        return True
    node = outputs.graph.origin(name, _ELEMENTWISE)
    if node is None or node.op_type != "Add":
        return False
    return any(_op(outputs.graph, part) in {"MatMul", "Gemm"} for part in node.input)


def _reduction(outputs: Outputs) -> Meaning | None:
    """A projection on fixed components, as skl2onnx writes PCA, TruncatedSVD, KernelPCA, random projections."""
    if outputs.discrete or len(outputs.floating) != 1 or outputs.producer != "skl2onnx":
        return None
    name = outputs.floating[0]
    node = outputs.graph.origin(name, _ELEMENTWISE)
    if node is None or node.op_type != "MatMul" or not all(map(outputs.graph.is_constant, node.input[1:])):
        return None
    return Meaning("dimension_reduction", {name: "component"})


def _op(graph: Graph, name: str) -> str:
    node = graph.origin(name)
    return node.op_type if node is not None else ""
