"""Makes every output of a model a tensor, by rewriting the graph in memory.

ZipMap (a dictionary per record) and SequenceConstruct only wrap tensors: the tensors themselves become the outputs, so
the numbers are exactly the model's and no dictionary is ever built.
"""

from collections.abc import Mapping

import onnx
import onnx.helper
import onnx.shape_inference

from serving.engines.base import InvalidModel
from serving.engines.onnx_graph import Graph, Node, Scalar, scalars
from serving.engines.onnx_types import has_shape

_IDENTITY = frozenset({"Identity"})
_WRAPPERS = frozenset({"ZipMap", "SequenceConstruct"})


def unwrap_outputs(model: onnx.ModelProto) -> Mapping[str, tuple[Scalar, ...]]:
    """Replace wrapped outputs by their tensors; answer the class labels of each former ZipMap, by output.

    A ZipMap's tensor keeps the output's name; a sequence `s` of k tensors becomes `s_0` … `s_k-1`. Raises
    `InvalidModel` for a sequence or map that is made otherwise.
    """
    graph = Graph(model)
    labels: dict[str, tuple[Scalar, ...]] = {}
    outputs: list[onnx.ValueInfoProto] = []
    added: list[Node] = []
    taken = {name for node in model.graph.node for name in node.output}
    for value in model.graph.output:
        wrapper = graph.origin(value.name, _IDENTITY)
        if wrapper is None or wrapper.op_type not in _WRAPPERS or not wrapper.input:
            outputs.append(value)
            continue
        if wrapper.op_type == "ZipMap":
            labels[value.name] = scalars(wrapper, "classlabels_strings", "classlabels_int64s") or ()
            outputs.append(_zipped(value.name, len(labels[value.name])))
            added.append(onnx.helper.make_node("Identity", [wrapper.input[0]], [value.name]))
            continue
        for position, source in enumerate(wrapper.input):
            name = _free(f"{value.name}_{position}", taken)
            outputs.append(_element(value, name))
            added.append(onnx.helper.make_node("Identity", [source], [name]))
    if added:
        _replace(model.graph, outputs, added)
    return labels


def infer_outputs(model: onnx.ModelProto) -> Mapping[str, onnx.ValueInfoProto]:
    """The declared outputs, corrected and completed by shape inference: exporters often declare a wrong width."""
    declared = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in model.graph.output]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        inferred = {value.name: value for value in onnx.shape_inference.infer_shapes(model).graph.output}
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        inferred = {}  # what is declared stands; the runtime says at load what does not fit
    return {value.name: _merged(value, inferred.get(value.name)) for value in declared}


def _merged(declared: onnx.ValueInfoProto, inferred: onnx.ValueInfoProto | None) -> onnx.ValueInfoProto:
    """The inferred type, with what only the declaration knows of its dimensions."""
    if inferred is None or not has_shape(inferred):
        return declared
    dims = declared.type.tensor_type.shape.dim
    if not has_shape(declared) or len(dims) != len(inferred.type.tensor_type.shape.dim):
        return inferred
    for ours, theirs in zip(inferred.type.tensor_type.shape.dim, dims, strict=True):
        if not ours.HasField("dim_value"):
            ours.CopyFrom(theirs)
    return inferred


def _zipped(name: str, classes: int) -> onnx.ValueInfoProto:
    # ZipMap takes float32 only (ai.onnx.ml-1)
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, classes or None])


def _element(sequence: onnx.ValueInfoProto, name: str) -> onnx.ValueInfoProto:
    """One tensor of the sequence, as far as the sequence declares it."""
    value = onnx.ValueInfoProto(name=name)
    if sequence.type.WhichOneof("value") == "sequence_type":
        value.type.CopyFrom(sequence.type.sequence_type.elem_type)
    return value


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _replace(graph: onnx.GraphProto, outputs: list[onnx.ValueInfoProto], added: list[Node]) -> None:
    """Put the new outputs in, and take away the wrappers and what else made an output of the same name."""
    renamed = {name for node in added for name in node.output}
    kept = [node for node in graph.node if not renamed & set(node.output)]
    needed = {name for node in kept for name in node.input} | {value.name for value in outputs}
    kept = [node for node in kept if node.op_type not in _WRAPPERS or needed & set(node.output)]
    if any(node.op_type in _WRAPPERS or renamed & set(node.input) for node in kept):
        message = "a ZipMap or sequence that is an output is also used inside the graph"
        raise InvalidModel("onnx_unsupported_output", message, "Export the model without it (zipmap=False).")
    stale = [value for value in graph.value_info if value.name in renamed]
    for value in stale:
        graph.value_info.remove(value)
    copies = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in outputs]
    moved = [onnx.NodeProto.FromString(node.SerializeToString()) for node in added]
    doomed = [node for node in graph.node if not any(node is other for other in kept)]
    for node in doomed:
        graph.node.remove(node)
    graph.node.extend(moved)
    del graph.output[:]
    graph.output.extend(copies)
