"""The body of a REST infer request, JSON with or without binary tensors behind it, to given and wanted tensors.

Binary tensor extension: the header Inference-Header-Content-Length says where the JSON ends; each input that has a
`binary_data_size` finds its bytes there, in the order of the inputs. Length 0 is a body without JSON: one raw tensor.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import cast

import msgspec

from serving.columns import flatten, nested_shape
from serving.json_text import malformed
from serving.problems import Problem, shorten
from serving.protocols.raw import item_bytes
from serving.protocols.tensors import Given, TensorModel, Wanted, mistake
from serving.signature import InputField, Signature

Parameters = Mapping[str, object]
HEADER = b"inference-header-content-length"
_SHARED = "shared_memory_region"
_SHOWN = 32  # dimensions of a stranger's shape that are repeated to him


class InferInput(msgspec.Struct):
    """One input tensor of an infer request."""

    name: str
    shape: list[int]
    datatype: str
    data: object = None
    parameters: dict[str, object] | None = None


class InferOutput(msgspec.Struct):
    """One wanted output of an infer request."""

    name: str
    parameters: dict[str, object] | None = None


class InferRequest(msgspec.Struct):
    """The body of an infer request; members that the protocol does not know are let pass, as clients add their own."""

    inputs: list[InferInput]
    id: str | None = None
    parameters: dict[str, object] | None = None
    outputs: list[InferOutput] | None = None


@dataclass(slots=True)  # not frozen: see `messages`
class Asked:
    """What a body asks, in the words of the core."""

    given: Sequence[Given]
    wanted: Sequence[Wanted]
    id: str | None = None


_DECODER = msgspec.json.Decoder(InferRequest)


def asked_of(model: TensorModel, body: bytes, header_length: bytes | None) -> Asked:
    """Read a body; `header_length` is the value of `HEADER`. Raises `Problem` 400."""
    if header_length is None:
        request, rest = _decoded(body), memoryview(b"")
    else:
        size = _size_of(header_length, len(body))
        if size == 0:
            return _raw(model, memoryview(body))
        request, rest = _decoded(memoryview(body)[:size]), memoryview(body)[size:]
    is_binary = _flag(request.parameters, "binary_data_output", "the request") or False
    wanted = [_wanted(output, is_binary=is_binary) for output in request.outputs or ()]
    if is_binary and not wanted:
        wanted = [Wanted(field.name, is_binary=True) for field in model.signature.outputs]
    return Asked(_given(request.inputs, rest), wanted, request.id)


def _decoded(text: bytes | memoryview) -> InferRequest:
    try:
        return _DECODER.decode(text)
    except msgspec.ValidationError as error:
        raise Problem(400, "invalid_input", f"the infer request is not as the protocol has it: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(bytes(text), error, "send the tensor as binary data") from error


def _size_of(header: bytes, body_bytes: int) -> int:
    """What the header says about the JSON's size."""
    what, shown = "Inference-Header-Content-Length", shorten(header.decode("ascii", "replace"))
    if not header.isdigit() or len(header) > 20:
        raise mistake(f"{what} is {shown!r}; it must be the size of the JSON in bytes")
    if int(header) > body_bytes:
        raise mistake(f"{what} says that the JSON has {int(header)} bytes; the body has {body_bytes}")
    return int(header)


def _given(inputs: Sequence[InferInput], rest: memoryview) -> list[Given]:
    """The inputs, each with its data; all bytes behind the JSON must be somebody's."""
    given: list[Given] = []
    at, size = 0, len(rest)
    for tensor in inputs:
        parameters = tensor.parameters
        own = parameters.get("binary_data_size") if parameters else None
        if parameters and _SHARED in parameters:
            raise mistake(
                f"the input {shorten(tensor.name)!r} is in shared memory, which is not served", "send it here"
            )
        if own is None:
            given.append(Given(tensor.name, tensor.datatype, tuple(tensor.shape), _flat(tensor)))
            continue
        count = _binary_size(tensor, own, size - at)
        given.append(Given(tensor.name, tensor.datatype, tuple(tensor.shape), rest[at : at + count]))
        at += count
    if at < size:
        raise mistake(f"{size - at} bytes are left behind the inputs", "each input's `binary_data_size` says its share")
    return given


def _binary_size(tensor: InferInput, size: object, left: int) -> int:
    what = f"the input {shorten(tensor.name)!r}"
    if type(size) is not int or size < 0:
        raise mistake(f"{what} has a `binary_data_size` that is not a number of bytes")
    if tensor.data is not None:
        raise mistake(f"{what} has both `data` and a `binary_data_size`", "send one of them")
    if size > left:
        hint = "the bytes follow the JSON, whose size the header Inference-Header-Content-Length says"
        raise mistake(f"{what} says it has {_short(size)} bytes of binary data; {left} are left of the body", hint)
    return size


def _flat(tensor: InferInput) -> list[object]:
    """The data laid flat, row by row. Raises `Problem` when its nesting is not as the shape says."""
    what, data, shape = f"the input {shorten(tensor.name)!r}", tensor.data, tensor.shape
    if data is None:
        raise mistake(f"{what} has no `data`", "send `data`, or binary data and its `binary_data_size`")
    if not isinstance(data, list):
        raise mistake(f"{what} has `data` that is not a list")
    if list not in map(type, data):
        return data
    nested = flatten(data, tuple(shape[1:]))
    if nested is not None and list(nested.dimensions) == shape:
        return nested.values
    seems = list(nested_shape(data))
    if seems != shape:
        raise mistake(f"{what} has nested data of the shape {seems}, and says [{_dimensions(shape)}]")
    for size in shape[1:]:
        if not all(type(each) is list and len(each) == size for each in data):
            raise mistake(f"{what} has ragged data: every list must have as many values as the shape says")
        data = list(chain.from_iterable(cast("list[list[object]]", data)))
    return data


def _wanted(output: InferOutput, *, is_binary: bool) -> Wanted:
    parameters, what = output.parameters, f"the output {shorten(output.name)!r}"
    if not parameters:
        return Wanted(output.name, 0, is_binary)
    if _SHARED in parameters:
        raise mistake(f"{what} is wanted in shared memory, which is not served", "take it from the response")
    own = _flag(parameters, "binary_data", what)
    classes = parameters.get("classification", 0)
    if type(classes) is not int or classes < 0:
        raise mistake(f"{what} has a `classification` that is not a number of classes")
    return Wanted(output.name, classes, is_binary if own is None else own)


def _flag(parameters: Parameters | None, name: str, what: str) -> bool | None:
    value = parameters.get(name) if parameters else None
    if value is not None and type(value) is not bool:
        raise mistake(f"{what} has a `{name}` that is neither true nor false")
    return value


def _raw(model: TensorModel, body: memoryview) -> Asked:
    """A body that is nothing but the one input's bytes; the signature and their number tell its shape."""
    inputs = model.signature.inputs
    if len(inputs) != 1:
        detail = f"a body without JSON is one tensor, and this model takes {len(inputs)} inputs"
        raise mistake(detail, "say which is which in JSON, and its size in Inference-Header-Content-Length")
    (field,) = inputs
    wanted = [Wanted(output.name, is_binary=True) for output in model.signature.outputs]
    if field.datatype == "BYTES":
        if any(size not in (-1, 1) for size in field.shape):
            raise mistake(f"a body without JSON is one text, and the input {field.name!r} takes {list(field.shape)}")
        return Asked([Given(field.name, "BYTES", (1,) * len(field.shape), [bytes(body)])], wanted)
    return Asked([Given(field.name, field.datatype, _raw_shape(field, model.signature, len(body)), body)], wanted)


def _raw_shape(field: InputField, signature: Signature, size: int) -> tuple[int, ...]:
    """The shape of so many bytes: one record, or where nothing else is free as many as there are."""
    shape = list(field.shape)
    if signature.batch != "none" and shape.count(-1) > 1 and shape[0] == -1:
        shape[0] = 1
    if shape.count(-1) > 1:
        raise mistake(f"the shape of the input {field.name!r}, {shape}, cannot be told from a number of bytes")
    if -1 in shape:
        rest = math.prod(each for each in shape if each != -1) * item_bytes(field.datatype)
        shape[shape.index(-1)] = max(1, size // rest) if rest else 1
    return tuple(shape)


def _dimensions(shape: Sequence[int]) -> str:
    return ", ".join(map(_short, shape[:_SHOWN]))


def _short(number: int) -> str:
    # Python writes no integer of more than some thousand digits.
    return str(number) if abs(number) < 2**63 else "more than 2^63"
