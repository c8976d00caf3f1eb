"""The Open Inference Protocol (V2) over JSON: metadata and infer, for tensor and PMML models alike.

The protocol's "model" is Portside's service. Every client mistake is a 4xx; a NaN is never written as JSON.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import cast

import msgspec

from serving.columns import nested_shape
from serving.json_text import malformed, plain
from serving.problems import Problem, shorten
from serving.protocols.tensors import Given, Tensor, TensorModel, Wanted, metadata, mistake
from serving.score import Scorer


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
        self.tensors = TensorModel(scorer, version, versions)
        self._decoder = msgspec.json.Decoder(InferRequest)
        self._encoder = msgspec.json.Encoder(enc_hook=plain)

    def metadata(self) -> bytes:
        """The model metadata response."""
        tensors, signature = self.tensors, self.tensors.signature
        return self._encoder.encode(
            {
                "name": tensors.name,
                "versions": tensors.versions,
                "platform": signature.platform,
                "inputs": [metadata(field) for field in signature.inputs],
                "outputs": [metadata(field) for field in signature.outputs],
            }
        )

    def infer(self, body: bytes) -> bytes:
        """The infer response. Raises `Problem`, to be told as `{"error": …}`."""
        request = self._parse(body)
        for parameters in (request.parameters, *(tensor.parameters for tensor in request.inputs)):
            _refuse_binary(parameters)
        given = [Given(each.name, each.datatype, tuple(each.shape), _flat(each)) for each in request.inputs]
        told = self.tensors.infer(given, _wanted(request))
        response: dict[str, object] = {"model_name": self.tensors.name, "model_version": self.tensors.version}
        if request.id is not None:
            response["id"] = request.id
        response["outputs"] = [{**_head(tensor), "data": tensor.values()} for tensor in told]
        return self._encoder.encode(response)

    def _parse(self, body: bytes) -> InferRequest:
        try:
            return self._decoder.decode(body)
        except msgspec.ValidationError as error:
            raise Problem(400, "invalid_input", f"the infer request is not as the protocol has it: {error}") from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise malformed(body, error) from error


def _head(tensor: Tensor) -> dict[str, object]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.array.shape)}


def _wanted(request: InferRequest) -> list[Wanted]:
    for output in request.outputs or ():
        _refuse_binary(output.parameters)
        if output.parameters and "classification" in output.parameters:
            raise mistake("the `classification` parameter is not served", "ask for the scores and rank them")
    return [Wanted(output.name) for output in request.outputs or ()]


def _flat(tensor: InferInput) -> list[object]:
    """The data laid flat, row by row. Raises `Problem` when its nesting is not as the shape says."""
    what, data = f"the input {shorten(tensor.name)!r}", tensor.data
    if data is None:
        raise mistake(f"{what} has no `data`", "binary tensors are not served: send the values as JSON")
    if not isinstance(data, list):
        raise mistake(f"{what} has `data` that is not a list")
    if any(type(each) is list for each in data):
        shape = nested_shape(data)
        if shape != tuple(tensor.shape):
            raise mistake(f"{what} has nested data of the shape {list(shape)}, and says {tensor.shape[:32]}")
        for size in tensor.shape[1:]:
            if not all(type(each) is list and len(each) == size for each in data):
                raise mistake(f"{what} has ragged data: every list must have as many values as the shape says")
            data = list(chain.from_iterable(cast("list[list[object]]", data)))
    return data


def _refuse_binary(parameters: Mapping[str, object] | None) -> None:
    for name in ("binary_data_size", "binary_data", "binary_data_output"):
        if parameters and parameters.get(name):
            raise mistake(f"the parameter {name!r} asks for binary tensors, which are not served", "use JSON data")


def error_text(problem: Problem) -> str:
    """A problem in the one string that the protocol has for errors."""
    parts = [problem.detail, *(each.hint for each in problem.errors[:1] if each.hint), problem.hint]
    return "; ".join(part for part in parts if part)
