"""Decides whether an ONNX model may be served, from its bytes alone: nothing here runs it.

Each refusal says which part it is and what the author can do. External data is looked for everywhere a tensor may
stand, because every place once overlooked became a way to read a foreign file.
"""

import re

import onnx
import onnx.checker

from serving.engines import onnx_limits
from serving.engines.base import InvalidModel
from serving.engines.onnx_graph import elements, graphs, nodes, tensors
from serving.engines.onnx_types import is_shapeless

# Tensors above this are checked by us and hidden from onnx.checker, which copies the whole model twice.
_LARGE_TENSOR_BYTES = 1 << 20
_MOST_NAMED = 5
_LONGEST_MESSAGE = 400


def check(model: onnx.ModelProto) -> None:
    """Raise `InvalidModel` for anything the runtime cannot or must not load. Drops the data of large tensors."""
    _check_parts(model.graph)
    _check_external_data(model)
    operators = onnx_limits.operators()
    _check_versions(model, operators)
    _check_operators(model, operators)
    _check_functions_end(model)
    _check_with_onnx(model)


def _check_parts(graph: onnx.GraphProto) -> None:
    again = "Export the model again, with its inputs and outputs."
    if not graph.node:
        raise InvalidModel("onnx_empty_graph", "the graph is empty: it has no operators, so it computes nothing", again)
    weights = {tensor.name for tensor in graph.initializer}
    if not any(value.name not in weights for value in graph.input):
        raise InvalidModel("onnx_no_inputs", "the graph has no inputs: every prediction would be the same", again)
    if not graph.output:
        raise InvalidModel("onnx_no_outputs", "the graph has no outputs: a prediction would be empty", again)
    for value in [*graph.input, *graph.output]:
        # protobuf hands out bytes where a string is not UTF-8; PostgreSQL stores no NUL, and nobody types one
        if not isinstance(value.name, str) or not value.name or "\0" in value.name:
            message = f"an input or output has no usable name: {value.name!r}"
            raise InvalidModel("onnx_invalid", message, "Give every input and output a name in UTF-8.")


def _check_external_data(model: onnx.ModelProto) -> None:
    outside = [t for t in tensors(model) if t.data_location == onnx.TensorProto.EXTERNAL or t.external_data]
    if not outside:
        return
    names = _listed([repr(tensor.name) if tensor.name else "an unnamed constant" for tensor in outside])
    raise InvalidModel(
        "onnx_external_data",
        f"the model keeps weights in other files ({names}); a version is one file for now",
        "Export with the weights inside: onnx.save(onnx.load(path), new_path), or torch.onnx.export(…, "
        "external_data=False).",
    )


def _check_versions(model: onnx.ModelProto, known: onnx_limits.Operators) -> None:
    if not onnx_limits.reads_ir_version(model.ir_version):
        newest = onnx_limits.newest_ir_version()
        raise InvalidModel(
            "onnx_ir_unsupported",
            f"IR version {model.ir_version} is newer than this runtime reads ({newest})"
            if model.ir_version > newest
            else f"IR version {model.ir_version} is not one this runtime reads (1 to {newest})",
            f"Set model.ir_version = {newest} before saving if nothing newer is used, or export with an older onnx.",
        )
    for entry in model.opset_import:
        domain = "" if entry.domain == onnx_limits.DEFAULT_DOMAIN else entry.domain
        if domain in known and not onnx_limits.reads_opset(domain, entry.version):
            raise _unread_opset(domain, entry.version)


def _unread_opset(domain: str, version: int) -> InvalidModel:
    newest = onnx_limits.newest_opset(domain)
    of_domain = f" of {domain}" if domain else ""
    if version > newest:
        message = f"opset {version}{of_domain} is newer than this runtime reads ({newest})"
    else:
        message = f"opset {version}{of_domain} does not exist; this runtime reads 1 to {newest}"
    key = onnx_limits.domain_name(domain)
    hint = (
        f"Export for opset {newest} of {key} or older: target_opset in skl2onnx and onnxmltools, opset_version in "
        "torch.onnx.export, or onnx.version_converter."
    )
    return InvalidModel("onnx_opset_unsupported", message, hint)


def _check_operators(model: onnx.ModelProto, known: onnx_limits.Operators) -> None:
    own = {(_domain(function.domain), function.name) for function in model.functions}
    opsets = {_domain(entry.domain): entry.version for entry in model.opset_import}
    custom: set[str] = set()
    for node in nodes(model):
        domain = _domain(node.domain)
        if (domain, node.op_type) in own:
            continue
        if domain not in known:
            custom.add(f"{domain}.{node.op_type}")
            continue
        since = known[domain].get(node.op_type)
        if since is None or since > opsets.get(domain, since):
            raise _unknown_operator(node, domain, since, opsets.get(domain))
    if custom:
        raise InvalidModel(
            "onnx_custom_operators",
            f"the model needs custom operators, which are not served: {_listed(sorted(custom))}",
            "Export with the operators of ONNX and onnxruntime (com.microsoft) only, or put them into the file as "
            "model-local functions.",
        )


def _unknown_operator(node: onnx.NodeProto, domain: str, since: int | None, opset: int | None) -> InvalidModel:
    where = f"node {node.name!r}" if node.name else f"the node that makes {_listed([repr(o) for o in node.output])}"
    name = onnx_limits.domain_name(domain)
    if since is None:
        message = f"{where} uses the operator {node.op_type!r}, which {name} does not have"
        return InvalidModel("onnx_unknown_operator", message, "Export the model again with a released exporter.")
    message = f"{where} uses {node.op_type!r}, which came with opset {since} of {name}; the model imports {opset}"
    return InvalidModel("onnx_unknown_operator", message, f"Export the model for opset {since} or newer.")


def _check_functions_end(model: onnx.ModelProto) -> None:
    """Refuse functions that call themselves: the runtime inlines functions until its stack overflows."""
    calls: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for function in model.functions:
        body = onnx.ModelProto(graph=onnx.GraphProto(node=function.node))
        called = {(_domain(node.domain), node.op_type) for node in nodes(body)}
        calls.setdefault((_domain(function.domain), function.name), set()).update(called)
    while calls:
        leaves = {name for name, called in calls.items() if not called & calls.keys()}
        if not leaves:
            looping = _listed(sorted(name for _, name in calls))
            message = f"model-local functions call themselves: {looping}"
            raise InvalidModel("onnx_invalid", message, "Express the repetition with Loop or Scan.")
        calls = {name: called for name, called in calls.items() if name not in leaves}


def _check_with_onnx(model: onnx.ModelProto) -> None:
    large = [tensor for graph in graphs(model) for tensor in graph.initializer if _is_large(tensor)]
    hidden = [(tensor, list(tensor.dims)) for tensor in large]
    for tensor in large:
        _hide(tensor)
    # the checker asks for a shape that neither the runtime nor we need
    shapeless = [value for value in [*model.graph.input, *model.graph.output] if is_shapeless(value)]
    for value in shapeless:
        value.type.tensor_type.shape.SetInParent()
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError, RuntimeError, TypeError) as error:
        raise InvalidModel(
            "onnx_invalid",
            f"the ONNX checker refuses the model: {_shortened(str(error))}",
            "Run onnx.checker.check_model on the file; it names the same place.",
        ) from error
    finally:
        for value in shapeless:
            value.type.tensor_type.ClearField("shape")
        for tensor, dims in hidden:
            tensor.dims[:] = dims


def _is_large(tensor: onnx.TensorProto) -> bool:
    return len(tensor.raw_data) > _LARGE_TENSOR_BYTES and tensor.data_type in onnx.TensorProto.DataType.values()


def _hide(tensor: onnx.TensorProto) -> None:
    """Check a large tensor's size here and leave onnx.checker an empty one."""
    stored = len(tensor.raw_data)
    announced = (elements(tensor.dims) * _bits(tensor.data_type) + 7) // 8
    if announced != stored:
        message = f"the weight {tensor.name!r} of shape {list(tensor.dims)} needs {announced} bytes and has {stored}"
        raise InvalidModel("onnx_invalid", message, "Export the model again.")
    tensor.raw_data = b""
    tensor.dims[:] = [0]


def _bits(data_type: int) -> int:
    name = onnx.TensorProto.DataType.Name(data_type)
    if name in {"INT4", "UINT4", "FLOAT4E2M1"}:
        return 4
    if name in {"INT2", "UINT2"}:
        return 2
    return int(onnx.helper.tensor_dtype_to_np_dtype(data_type).itemsize) * 8


def _shortened(message: str) -> str:
    missing = re.search(r"topologically sorted, however input '([^']*)' of node:.*?OpType: (\w+)", message, re.DOTALL)
    if missing:
        return f"{missing[2]} reads {missing[1]!r}, which no input, weight or earlier operator makes"
    text = re.sub(r"==> Context: Bad node spec for node\. ", "in node ", message)
    text = " ".join(re.sub(r"\S*/\S+\.(?:cc|h):\d+:?", "", text).split())
    return text if len(text) <= _LONGEST_MESSAGE else text[: _LONGEST_MESSAGE - 1] + "…"


def _domain(domain: str) -> str:
    return "" if domain == onnx_limits.DEFAULT_DOMAIN else domain


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(name if len(name) <= 80 else name[:79] + "…" for name in names[:_MOST_NAMED]) + more
