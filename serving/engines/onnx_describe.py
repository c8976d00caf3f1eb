"""Builds the signature of an ONNX model from its parsed and checked message."""

from collections.abc import Mapping
from dataclasses import replace

import onnx

from serving.engines.base import InvalidModel
from serving.engines.onnx_algorithm import read_algorithm
from serving.engines.onnx_batch import batch_of
from serving.engines.onnx_categories import Categories, categorical_sample, read_categories
from serving.engines.onnx_features import FEATURES_KEY, with_features
from serving.engines.onnx_graph import Graph, nodes, number
from serving.engines.onnx_limits import domain_name
from serving.engines.onnx_outputs import infer_outputs, unwrap_outputs
from serving.engines.onnx_runtime import VERSION
from serving.engines.onnx_task import REGRESSORS, Meaning, Outputs, read_meaning
from serving.engines.onnx_types import TensorType, input_type, output_type
from serving.signature import Batch, InputField, OutputField, Producer, Role, Signature, Treatment

_LONGEST_METADATA = 65_536


def describe_model(model: onnx.ModelProto) -> Signature:
    """The signature; rewrites the message's wrapped outputs. Raises `InvalidModel` for inputs or outputs that
    predictions cannot carry."""
    weights = {tensor.name for tensor in model.graph.initializer}
    weights |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    values = {value.name: value for value in model.graph.input if value.name not in weights}
    inputs = {name: input_type(value) for name, value in values.items()}
    zipped = unwrap_outputs(model)
    declared = infer_outputs(model)
    graph = Graph(model)
    types = {name: widened(output_type(value), graph, name) for name, value in declared.items()}
    operators = frozenset(node.op_type for node in nodes(model))
    meaning = read_meaning(Outputs(graph, types, zipped, model.producer_name, operators))
    metadata = _metadata(model)
    batch = batch_of(inputs, types, meaning.task, metadata)
    categories = read_categories(model, inputs)
    fields = tuple(_input(values[name], kind, categories.get(name, {})) for name, kind in inputs.items())
    signature = Signature(
        format="onnx",
        format_version=_format_version(model),
        engine="onnxruntime",
        engine_version=VERSION,
        platform="onnx_onnxv1",
        algorithm=read_algorithm(model, meaning),
        task=meaning.task,
        batch=batch,
        inputs=fields,
        outputs=tuple(_output(declared[name], kind, meaning, batch) for name, kind in types.items()),
        producer=_producer(model),
        metadata=metadata,
        sample=categorical_sample(fields, categories, batch),
    )
    return with_features(signature, _properties(model).get(FEATURES_KEY))


def _format_version(model: onnx.ModelProto) -> dict[str, int | dict[str, int]]:
    opsets = {domain_name(_text(entry.domain)): entry.version for entry in model.opset_import}
    return {"ir_version": model.ir_version, "opsets": opsets}


def _producer(model: onnx.ModelProto) -> Producer | None:
    if not model.producer_name:
        return None
    return Producer(_text(model.producer_name), _text(model.producer_version) or None)


def _input(value: onnx.ValueInfoProto, kind: TensorType, categories: Mapping[int, Categories]) -> InputField:
    described = _text(value.doc_string) or None
    single = len(kind.shape) < 2 or kind.shape[-1] == 1
    if not categories or not single:
        return InputField(value.name, kind.datatype, kind.shape, description=described)
    known = categories[0]
    return InputField(
        value.name,
        kind.datatype,
        kind.shape,
        measure="categorical",
        values=known.values,
        invalid=Treatment("returnInvalid" if known.strict else "asIs"),
        description=described,
    )


def _output(value: onnx.ValueInfoProto, kind: TensorType, meaning: Meaning, batch: Batch) -> OutputField:
    role = meaning.roles.get(value.name, "field")
    labels = meaning.labels.get(value.name)
    chooses = role in {"label", "cluster", "anomaly"}
    return OutputField(
        value.name,
        kind.datatype,
        output_shape(kind.shape, batch, role, len(labels or ())),
        role=role,
        labels=None if chooses else labels,
        target=meaning.targets.get(value.name),
        measure="categorical" if chooses else "continuous" if role != "field" else None,
        values=labels if chooses else None,
        description=_text(value.doc_string) or None,
    )


def output_shape(declared: tuple[int, ...], batch: Batch, role: Role, classes: int) -> tuple[int, ...]:
    """The declared shape, put right where exporters are known to be wrong or silent.

    onnxmltools declares the labels of LightGBM `[1]` and answers `[N]`; skl2onnx's QDA declares and answers `[1, N]`,
    which the loaded model turns into `[N]`; a sequence's tensors have no declared shape at all.
    """
    if role in {"probability", "score"} and len(declared) == 1 and classes > 1:
        declared = (-1, classes)
    if batch == "none" or not declared:
        return declared
    if batch == "loop":
        return (1, *declared[1:]) if role != "field" else declared
    if role == "label" and len(declared) == 2 and declared[0] == 1 and declared[1] == -1:
        return (-1,)
    return (-1, *declared[1:])


def widened(kind: TensorType, graph: Graph, name: str) -> TensorType:
    """The type with as many columns as the regressor has targets: skl2onnx declares one for every forest."""
    node = graph.origin(name, frozenset({"Identity", "Cast"}))
    targets = number(node, "n_targets" if node.op_type.startswith("Tree") else "targets") if node is not None else 0
    if node is None or node.op_type not in REGRESSORS or targets < 2 or kind.shape[1:] != (1,):
        return kind
    return replace(kind, shape=(kind.shape[0], targets))


def _metadata(model: onnx.ModelProto) -> dict[str, str]:
    about = {
        "description": _text(model.doc_string),
        "domain": _text(model.domain),
        "graph_name": _text(model.graph.name),
        "model_version": str(model.model_version) if model.model_version else "",
    }
    found = {key: text for key, text in about.items() if text}
    for key, text in _properties(model).items():
        whole = len(text) <= _LONGEST_METADATA
        found[key] = text if whole else f"{text[:200]}… ({len(text)} characters)"
    return found


def _properties(model: onnx.ModelProto) -> dict[str, str]:
    return {_text(entry.key): _text(entry.value) for entry in model.metadata_props}


def _text(value: str | bytes) -> str:
    """protobuf hands out bytes where a string is not UTF-8."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def check_names(signature: Signature) -> None:
    """Refuse a name that is both an input and an output: the runtime would answer the caller's own value."""
    both = {item.name for item in signature.inputs} & {item.name for item in signature.outputs}
    if both:
        message = f"{sorted(both)[0]!r} is an input and an output at once"
        raise InvalidModel("onnx_unsupported_output", message, "Put an Identity between them when exporting.")
