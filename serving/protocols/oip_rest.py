"""The Open Inference Protocol (V2) over JSON: metadata and infer, for tensor and PMML models alike.

The protocol's "model" is Portside's service. Every client mistake is a 4xx; a NaN is never written as JSON.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from serving.columns import nested_shape
from serving.datatypes import BINARY_ONLY, FLOATS
from serving.engines.base import Columns
from serving.json_text import malformed, plain
from serving.problems import Problem, shorten
from serving.score import Scorer
from serving.signature import InputField, OutputField


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


class OipModel:
    """Answers the protocol for one scorer. Thread-safe."""

    def __init__(self, scorer: Scorer, version: str | None = None, versions: Sequence[str] = ()) -> None:
        """`version` is what clients call it where that is not the model's own, `versions` all that they may ask for."""
        self._scorer, self._name = scorer, scorer.identity.name
        self._version = version or scorer.identity.version
        self._versions = versions or [self._version]
        self._inputs = {field.name: field for field in scorer.signature.inputs}
        self._outputs = {field.name: field for field in scorer.signature.outputs}
        self._decoder = msgspec.json.Decoder(InferRequest)
        self._encoder = msgspec.json.Encoder(enc_hook=plain)

    def metadata(self) -> bytes:
        """The model metadata response."""
        signature = self._scorer.signature
        return self._encoder.encode(
            {
                "name": self._name,
                "versions": self._versions,
                "platform": signature.platform,
                "inputs": [_tensor_metadata(field) for field in signature.inputs],
                "outputs": [_tensor_metadata(field) for field in signature.outputs],
            }
        )

    def infer(self, body: bytes) -> bytes:
        """The infer response. Raises `Problem`, to be told as `{"error": …}`."""
        request = self._parse(body)
        columns = self._validate(request)
        wanted = self._wanted(request)
        outputs = self._scorer.run(columns)
        response: dict[str, object] = {
            "model_name": self._name,
            "model_version": self._version,
        }
        if request.id is not None:
            response["id"] = request.id
        response["outputs"] = [self._tensor(self._outputs[name], outputs) for name in wanted]
        return self._encoder.encode(response)

    def _parse(self, body: bytes) -> InferRequest:
        try:
            return self._decoder.decode(body)
        except msgspec.ValidationError as error:
            raise Problem(400, "invalid_input", f"the infer request is not as the protocol has it: {error}") from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise malformed(body, error) from error

    def _validate(self, request: InferRequest) -> Columns:
        for parameters in (request.parameters, *(tensor.parameters for tensor in request.inputs)):
            _refuse_binary(parameters)
        call: dict[str, NDArray[np.generic]] = {}
        for tensor in request.inputs:
            if tensor.name in call:
                raise _mistake(f"the input {tensor.name!r} is given twice")
            field = self._inputs.get(tensor.name)
            if field is None:
                hint = self._scorer.validator.unknown_hint(tensor.name)
                raise _mistake(f"unknown input {shorten(tensor.name)!r}", hint)
            _check_declaration(tensor, field)
            flat = _flat(tensor)
            if None in flat:
                raise _mistake(
                    f"the input {tensor.name!r} has a null at {flat.index(None)}", "leave out what is missing"
                )
            call[tensor.name] = self._scorer.validator.tensor(tensor.name, flat, tuple(tensor.shape))
        if not call:
            raise _mistake("the request has no inputs", f"this model takes: {', '.join(self._inputs)}")
        self._scorer.validator.require(call, "/inputs")
        return call

    def _wanted(self, request: InferRequest) -> Sequence[str]:
        if not request.outputs:
            return tuple(self._outputs)
        for output in request.outputs:
            if output.name not in self._outputs:
                known = ", ".join(self._outputs)
                raise _mistake(f"unknown output {shorten(output.name)!r}", f"this model answers: {known}")
            _refuse_binary(output.parameters)
            if output.parameters and "classification" in output.parameters:
                raise _mistake("the `classification` parameter is not served", "ask for the scores and rank them")
        names = [output.name for output in request.outputs]
        if len(set(names)) < len(names):
            raise _mistake("an output is asked for twice")
        return names

    def _tensor(self, field: OutputField, outputs: Columns) -> Mapping[str, object]:
        column = outputs[field.name]
        what = f"the output {field.name!r}"
        if field.datatype in BINARY_ONLY:
            raise _mistake(f"{what} is {field.datatype}, which JSON does not carry", "ask for other outputs")
        if field.datatype in FLOATS and not np.isfinite(column.astype(np.float64)).all():
            hint = "ask for other outputs, or use POST /predict, which writes null"
            raise _mistake(f"{what} has NaN or infinite values, which JSON does not carry", hint)
        data: list[object] = column.reshape(-1).tolist()
        if None in data:
            raise _mistake(f"{what} has missing values, which the protocol does not know", "use POST /predict")
        return {
            "name": field.name,
            "datatype": field.datatype,
            "shape": list(column.shape),
            "data": [_text(each) for each in data] if field.datatype == "BYTES" else data,
        }


def _text(value: object) -> str:
    """What stands in a BYTES tensor; an engine's structured answers (rules) travel as JSON texts."""
    return value if isinstance(value, str) else msgspec.json.encode(value, enc_hook=plain).decode()


def _tensor_metadata(field: InputField | OutputField) -> Mapping[str, object]:
    return {"name": field.name, "datatype": field.datatype, "shape": list(field.shape)}


def _check_declaration(tensor: InferInput, field: InputField) -> None:
    """Refuse a datatype or shape that is not the model's."""
    what = f"the input {field.name!r}"
    if tensor.datatype != field.datatype:
        raise _mistake(f"{what} has the datatype {shorten(tensor.datatype)!r}; expected {field.datatype}")
    if field.datatype in BINARY_ONLY:
        raise _mistake(f"{what} is {field.datatype}, which JSON does not carry", "use POST /predict")
    fits = len(tensor.shape) == len(field.shape) and all(
        given == expected if expected >= 0 else given > 0
        for given, expected in zip(tensor.shape, field.shape, strict=True)
    )
    if not fits:
        raise _mistake(f"{what} has the shape {tensor.shape[:32]}; expected {list(field.shape)}")


def _flat(tensor: InferInput) -> list[object]:
    """The data laid flat, row by row. Raises `Problem` when there is more or less of it than the shape says."""
    what, data = f"the input {tensor.name!r}", tensor.data
    if data is None:
        raise _mistake(f"{what} has no `data`", "binary tensors are not served: send the values as JSON")
    if not isinstance(data, list):
        raise _mistake(f"{what} has `data` that is not a list")
    if any(type(each) is list for each in data):
        shape = nested_shape(data)
        if shape != tuple(tensor.shape):
            raise _mistake(f"{what} has nested data of the shape {list(shape)}, and says {tensor.shape}")
        for size in tensor.shape[1:]:
            if not all(type(each) is list and len(each) == size for each in data):
                raise _mistake(f"{what} has ragged data: every list must have as many values as the shape says")
            data = list(chain.from_iterable(cast("list[list[object]]", data)))
    if len(data) != math.prod(tensor.shape):
        raise _mistake(f"{what} has {len(data)} values; its shape {tensor.shape} has {math.prod(tensor.shape)}")
    return data


def _refuse_binary(parameters: Mapping[str, object] | None) -> None:
    for name in ("binary_data_size", "binary_data", "binary_data_output"):
        if parameters and parameters.get(name):
            raise _mistake(f"the parameter {name!r} asks for binary tensors, which are not served", "use JSON data")


def _mistake(detail: str, hint: str = "") -> Problem:
    return Problem(400, "invalid_input", detail, hint=hint)


def error_text(problem: Problem) -> str:
    """A problem in the one string that the protocol has for errors."""
    parts = [problem.detail, *(each.hint for each in problem.errors[:1] if each.hint), problem.hint]
    return "; ".join(part for part in parts if part)
