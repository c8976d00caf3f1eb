"""Builds the signature of an ONNX model from its parsed and checked message."""

import onnx
import onnxruntime

from serving.engines.base import InvalidModel
from serving.engines.onnx_algorithm import read_algorithm
from serving.engines.onnx_batch import batch_of
from serving.engines.onnx_categories import Categories, read_categories
from serving.engines.onnx_graph import Graph, Scalar, nodes
from serving.engines.onnx_limits import domain_name
from serving.engines.onnx_outputs import infer_outputs, unwrap_outputs
from serving.engines.onnx_task import Meaning, Outputs, read_meaning
from serving.engines.onnx_types import TensorType, input_type, output_type
from serving.signature import Batch, InputField, OutputField, Producer, Signature, Treatment

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
    types = {name: output_type(value) for name, value in declared.items()}
    operators = frozenset(node.op_type for node in nodes(model))
    meaning = read_meaning(Outputs(Graph(model), types, zipped, model.producer_name, operators))
    metadata = _metadata(model)
    batch = batch_of(inputs, types, meaning.task, metadata)
    categories = read_categories(model, inputs)
    return Signature(
        format="onnx",
        format_version={
            "ir_version": model.ir_version,
            "opsets": {domain_name(entry.domain): entry.version for entry in model.opset_import},
        },
        engine="onnxruntime",
        engine_version=str(onnxruntime.__version__),
        platform="onnx_onnxv1",
        algorithm=read_algorithm(model, meaning),
        task=meaning.task,
        batch=batch,
        inputs=tuple(_input(values[name], kind, categories.get(name, {})) for name, kind in inputs.items()),
        outputs=tuple(_output(declared[name], kind, meaning, batch) for name, kind in types.items()),
        producer=Producer(_text(model.producer_name), _text(model.producer_version) or None)
        if model.producer_name
        else None,
        metadata=metadata,
        sample=_known_sample(inputs, categories),
    )


def _input(value: onnx.ValueInfoProto, kind: TensorType, categories: dict[int, Categories]) -> InputField:
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
        output_shape(kind.shape, batch, is_label=role == "label"),
        role=role,
        labels=None if chooses else labels,
        measure="categorical" if chooses else "continuous" if role != "field" else None,
        values=labels if chooses else None,
        description=_text(value.doc_string) or None,
    )


def output_shape(declared: tuple[int, ...], batch: Batch, *, is_label: bool) -> tuple[int, ...]:
    """The declared shape, put right where exporters are known to be wrong about the batch.

    onnxmltools declares the labels of LightGBM `[1]` and answers `[N]`; skl2onnx's QDA declares and answers `[1, N]`,
    which the loaded model turns into `[N]`.
    """
    if batch != "stack" or not declared:
        return declared
    if is_label and len(declared) == 2 and declared[0] == 1 and declared[1] == -1:
        return (-1,)
    return (-1, *declared[1:])


def _known_sample(
    inputs: dict[str, TensorType], categories: dict[str, dict[int, Categories]]
) -> dict[str, list[Scalar]] | None:
    """A record's part for vectors of categories, where each column has its own: `InputField.values` cannot say that."""
    known: dict[str, list[Scalar]] = {}
    for name, columns in categories.items():
        width = inputs[name].shape[-1] if len(inputs[name].shape) == 2 else 1
        if width > 1 and len(columns) == width:
            known[name] = [columns[index].values[0] for index in range(width)]
    return known or None


def _metadata(model: onnx.ModelProto) -> dict[str, str]:
    about = {
        "description": _text(model.doc_string),
        "domain": _text(model.domain),
        "graph_name": _text(model.graph.name),
        "model_version": str(model.model_version) if model.model_version else "",
    }
    found = {key: text for key, text in about.items() if text}
    for entry in model.metadata_props:
        text = _text(entry.value)
        whole = len(text) <= _LONGEST_METADATA
        found[_text(entry.key)] = text if whole else f"{text[:200]}… ({len(text)} characters)"
    return found


def _text(value: str | bytes) -> str:
    """protobuf hands out bytes where a string is not UTF-8."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def check_names(signature: Signature) -> None:
    """Refuse a name that is both an input and an output: the runtime would answer the caller's own value."""
    both = {item.name for item in signature.inputs} & {item.name for item in signature.outputs}
    if both:
        message = f"{sorted(both)[0]!r} is an input and an output at once"
        raise InvalidModel("onnx_unsupported_output", message, "Put an Identity between them when exporting.")
