"""ONNX value types as the signature's datatypes and shapes, or a refusal in words."""

from dataclasses import dataclass

import onnx

from serving.engines.base import InvalidModel
from serving.engines.onnx_graph import elements
from serving.signature import Datatype

_T = onnx.TensorProto
_DATATYPES: dict[int, Datatype] = {
    _T.BOOL: "BOOL",
    _T.UINT8: "UINT8",
    _T.UINT16: "UINT16",
    _T.UINT32: "UINT32",
    _T.UINT64: "UINT64",
    _T.INT8: "INT8",
    _T.INT16: "INT16",
    _T.INT32: "INT32",
    _T.INT64: "INT64",
    _T.FLOAT16: "FP16",
    _T.BFLOAT16: "BF16",
    _T.FLOAT: "FP32",
    _T.DOUBLE: "FP64",
    _T.STRING: "BYTES",
}
FLOATING = frozenset({"BF16", "FP16", "FP32", "FP64"})

# A record with more elements than this (2 GiB of float32) cannot be sent, let alone sampled.
_LARGEST_RECORD = 2**29


@dataclass(frozen=True, slots=True)
class TensorType:
    """A tensor's datatype and shape (-1 where free), with the name of each free dimension ('' where it has none)."""

    datatype: Datatype
    shape: tuple[int, ...]
    symbols: tuple[str, ...]


def has_shape(value: onnx.ValueInfoProto) -> bool:
    """Whether the value is declared as a tensor of known type and rank."""
    tensor = value.type.tensor_type
    return value.type.WhichOneof("value") == "tensor_type" and bool(tensor.elem_type) and tensor.HasField("shape")


def is_shapeless(value: onnx.ValueInfoProto) -> bool:
    """Whether the value is declared as a tensor of unknown rank."""
    return value.type.WhichOneof("value") == "tensor_type" and not value.type.tensor_type.HasField("shape")


def input_type(value: onnx.ValueInfoProto) -> TensorType:
    """The type of a graph input. Raises `InvalidModel` for what a prediction cannot carry."""
    what, code = f"the input {value.name!r}", "onnx_unsupported_input"
    _check_is_tensor(value, what, code)
    if not has_shape(value):
        hint = "Declare its shape when exporting; a free dimension may be left symbolic."
        raise InvalidModel(code, f"{what} declares no shape", hint)
    found = _tensor_type(value, what, code)
    if elements([dim for dim in found.shape if dim > 0]) > _LARGEST_RECORD:
        message = f"{what} has the fixed shape {list(found.shape)}: too large for a prediction"
        raise InvalidModel(code, message, "Leave the large dimensions free when exporting.")
    return found


def output_type(value: onnx.ValueInfoProto) -> TensorType:
    """The type of a graph output; an unknown rank reads as one free dimension. Raises `InvalidModel`."""
    what, code = f"the output {value.name!r}", "onnx_unsupported_output"
    _check_is_tensor(value, what, code)
    return _tensor_type(value, what, code)


def _check_is_tensor(value: onnx.ValueInfoProto, what: str, code: str) -> None:
    kind = value.type.WhichOneof("value")
    if kind == "tensor_type" and value.type.tensor_type.elem_type:
        return
    words = {
        "sequence_type": "a sequence",
        "map_type": "a map (a dictionary)",
        "optional_type": "an optional value",
        "sparse_tensor_type": "a sparse tensor",
        "opaque_type": "an opaque value",
    }
    message = f"{what} is {words.get(kind or '', 'of no declared type')}; predictions carry tensors only"
    raise InvalidModel(code, message, "Export the model with one tensor for it.")


def _tensor_type(value: onnx.ValueInfoProto, what: str, code: str) -> TensorType:
    tensor = value.type.tensor_type
    datatype = _DATATYPES.get(tensor.elem_type)
    if datatype is None:
        known = tensor.elem_type in _T.DataType.values()
        name = _T.DataType.Name(tensor.elem_type) if known else f"number {tensor.elem_type}"
        message = f"{what} has the element type {name}, which predictions do not carry"
        raise InvalidModel(code, message, "Put a Cast to float32 beside it when exporting.")
    dims = tensor.shape.dim if tensor.HasField("shape") else [onnx.TensorShapeProto.Dimension()]
    shape = tuple(dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else -1 for dim in dims)
    return TensorType(datatype, shape, tuple(str(dim.dim_param) for dim in dims))
