"""Reads an ONNX file into a protobuf message and tells a cut or foreign file from a damaged one.

The file is mapped, never copied, so a 2 GiB model costs its message once.
"""

import mmap
from pathlib import Path
from typing import BinaryIO

import onnx
from google.protobuf.message import DecodeError

from serving.engines.base import InvalidModel

# protobuf's own limit for one message; onnxruntime has the same
LARGEST_FILE_BYTES = 2**31 - 1

# ModelProto's field numbers (onnx.proto)
_FIELDS = {
    1: "IR version",
    2: "producer's name",
    3: "producer's version",
    4: "domain",
    5: "model version",
    6: "doc string",
    7: "graph",
    8: "opset imports",
    14: "metadata",
    20: "training information",
    25: "functions",
    26: "device configuration",
}
_EXPORT_AGAIN = "Export the model again and upload the complete file."


def read_model(path: Path) -> onnx.ModelProto:
    """Parse the file. Raises `InvalidModel` for a file that is empty, cut short, damaged or no ONNX at all."""
    size_bytes = path.stat().st_size
    if size_bytes == 0:
        raise InvalidModel("onnx_truncated", "the file is empty", _EXPORT_AGAIN)
    if size_bytes > LARGEST_FILE_BYTES:
        raise InvalidModel(
            "onnx_too_large",
            f"the file has {size_bytes} bytes; one ONNX file may have 2 GiB",
            "Quantise the model or store its weights as float16.",
        )
    model = onnx.ModelProto()
    with path.open("rb") as file, _mapped(file) as mapped, memoryview(mapped) as view:
        try:
            model.ParseFromString(view)
        except DecodeError as error:
            raise _damage(view, str(error)) from error
    _check_is_onnx(model)
    return model


def _mapped(file: BinaryIO) -> mmap.mmap:
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _check_is_onnx(model: onnx.ModelProto) -> None:
    if not model.HasField("graph") and not model.ir_version:
        raise InvalidModel(
            "onnx_invalid", "this is not an ONNX model: it has no IR version and no graph", _EXPORT_AGAIN
        )
    if not model.HasField("graph"):
        raise InvalidModel("onnx_truncated", "this is not a complete ONNX model: the graph is missing", _EXPORT_AGAIN)
    # every exporter since IR version 3 (2017) writes the opset imports, and writes them behind the graph
    if not model.opset_import:
        message = "this is not a complete ONNX model: the opset imports, which follow the graph, are missing"
        raise InvalidModel("onnx_truncated", message, _EXPORT_AGAIN)


def _damage(view: memoryview, reason: str) -> InvalidModel:
    if "MaxDepth" in reason:
        message = "the model nests its subgraphs or types deeper than 100 levels, which ONNX readers refuse"
        return InvalidModel("onnx_invalid", message, "Export the model without that nesting.")
    position = 0
    while position < len(view):
        try:
            tag, position = _varint(view, position)
            field, wire_type = tag >> 3, tag & 7
            length, position = _payload(view, position, wire_type)
        except IndexError:
            return InvalidModel(
                "onnx_truncated", f"the file ends in the middle of a field, at byte {len(view)}", _EXPORT_AGAIN
            )
        except ValueError:
            break
        if position + length > len(view):
            part = _FIELDS.get(field)
            if part is None:
                break  # no field of a model: the bytes are no ONNX, not the beginning of one
            message = (
                f"the file ends in the middle of the {part}: {length} bytes announced, {len(view) - position} there"
            )
            return InvalidModel("onnx_truncated", message, _EXPORT_AGAIN)
        position += length
    return InvalidModel(
        "onnx_invalid", "this is not an ONNX model, or it is damaged: its bytes do not parse", _EXPORT_AGAIN
    )


def _payload(view: memoryview, position: int, wire_type: int) -> tuple[int, int]:
    """How long the field's payload is and where it begins. `ValueError` for a wire type that does not exist."""
    match wire_type:
        case 0:
            _, position = _varint(view, position)
            return 0, position
        case 1:
            return 8, position
        case 2:
            return _varint(view, position)
        case 5:
            return 4, position
        case _:
            raise ValueError(wire_type)


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a varint has at most ten bytes")
