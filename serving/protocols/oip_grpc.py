"""The Open Inference Protocol over gRPC without a transport: a method and its message's bytes to those of the answer.

Tensors come raw or typed and are answered raw, as Triton does: every client reads that, and it carries every datatype.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from google.protobuf.json_format import ParseDict
from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray

from serving.engines.base import Columns
from serving.messages import Response
from serving.problems import Problem, shorten
from serving.protocols.grpc_status import PROTOBUF
from serving.protocols.model_config import config_of
from serving.protocols.oip_admin import EXTENSIONS, LOGGING, NO_TRACE
from serving.protocols.oip_head import is_crowded, version_asked
from serving.protocols.oip_plain import PlainMessages, model_fields
from serving.protocols.oip_proto import METHODS, SERVICE, declare_messages
from serving.protocols.surface import Surface
from serving.protocols.tensors import Given, TensorModel, Wanted, metadata, mistake
from serving.reading import Reading
from serving.statistics import now

# Where the typed contents of a datatype stand, and how numpy reads them there; FP16 and BF16 come raw only.
CONTENTS: Final[Mapping[str, tuple[str, type[np.generic]]]] = MappingProxyType(
    {
        "BOOL": ("bool_contents", np.bool_),
        "INT8": ("int_contents", np.int32),
        "INT16": ("int_contents", np.int32),
        "INT32": ("int_contents", np.int32),
        "INT64": ("int64_contents", np.int64),
        "UINT8": ("uint_contents", np.uint32),
        "UINT16": ("uint_contents", np.uint32),
        "UINT32": ("uint_contents", np.uint32),
        "UINT64": ("uint64_contents", np.uint64),
        "FP32": ("fp32_contents", np.float32),
        "FP64": ("fp64_contents", np.float64),
    }
)
SHARED_MEMORY: Final = ("shared_memory_region", "shared_memory_byte_size", "shared_memory_offset")
SMALL_BYTES: Final = 64 * 1024  # of a message that may be parsed whatever it has
MOST_DIMENSIONS: Final = 64  # as many as numpy has
FINAL: Final = "triton_enable_empty_final_response"
# In which field of its choice a setting of the log stands, by its type.
CHOICES: Final[Mapping[type, str]] = MappingProxyType({bool: "bool_param", int: "uint32_param", str: "string_param"})


@dataclass(slots=True)  # not frozen: see `messages`
class Asked:
    """What one infer request asks for; `id` as its bytes."""

    model: TensorModel
    given: Sequence[Given]
    wanted: Sequence[Wanted]
    id: bytes
    is_final: bool = False  # it wants to be told that no other answer follows


class InferenceService:
    """Answers each method of the service but the stream, which is one `ModelInfer` after the other. Thread-safe."""

    def __init__(self, surface: Surface) -> None:
        self._surface, self.messages = surface, declare_messages()
        self._request, self._plain = self.messages["ModelInferRequest"], PlainMessages()
        self._others: dict[str, Callable[[Any], Mapping[str, object]]] = {
            "ServerLive": lambda request: {"live": True},
            "ServerReady": lambda request: {"ready": surface.is_ready},
            "ServerMetadata": lambda request: {
                "name": "portside",
                "version": surface.version,
                "extensions": EXTENSIONS,
            },
            "ModelReady": self._model_ready,
            "ModelMetadata": lambda request: metadata_of(surface.model(request.name, request.version)),
            "ModelConfig": lambda request: {"config": config_of(surface.model(request.name, request.version))},
            "ModelStatistics": self._statistics,
            "RepositoryIndex": self._index,
            "RepositoryModelLoad": self._load,
            "RepositoryModelUnload": self._unload,
            "TraceSetting": _trace_settings,
            "LogSettings": _log_settings,
            "SystemSharedMemoryStatus": lambda request: {"regions": {}},
            "SystemSharedMemoryRegister": _no_shared_memory,
            "SystemSharedMemoryUnregister": lambda request: {},  # of what is not there; Triton says nothing either
            "CudaSharedMemoryStatus": lambda request: {"regions": {}},
            "CudaSharedMemoryRegister": _no_shared_memory,
            "CudaSharedMemoryUnregister": lambda request: {},
        }

    @property
    def paths(self) -> Sequence[str]:
        """The paths of the methods that `answer` knows."""
        return [f"/{SERVICE}/{method.name}" for method in METHODS if not method.is_stream]

    def answer(self, method: str, message: bytes) -> bytes:
        """The answer's message. Raises `Problem`."""
        if method == "ModelInfer":
            return self.infer(message)
        request = self._parsed(self.messages[f"{method}Request"], message)
        found = self._others[method](request)
        return bytes(ParseDict(found, self.messages[f"{method}Response"](), True).SerializeToString())

    def version_asked(self, message: bytes) -> str:
        """Which version of the model an infer request names; none where it cannot be read. Quick at any size."""
        return version_asked(message)

    def infer(self, message: bytes) -> bytes:
        """The infer response. Raises `Problem`."""
        return self.read(message).answer().body

    def read(self, message: bytes) -> Reading:
        """What an infer request asks the engine. Raises `Problem`."""
        begun = now()
        asked = self._asked(message)
        model, parsed = asked.model, now()
        columns, wanted = model.columns(asked.given), model.wanted(asked.wanted)
        validated, asked_id, is_final = now(), asked.id, asked.is_final  # and no more of it, which may be large

        def tell(outputs: Columns) -> Response:
            computed = now()
            named = model_fields(model.name, model.version)
            told = self._plain.write(named, asked_id, model.tensors(outputs, wanted), is_final=is_final)
            model.scorer.statistics.answered(begun, parsed, validated, computed)
            return Response(200, told, PROTOBUF)

        return Reading(model.scorer, columns, tell)

    def _asked(self, message: bytes) -> "Asked":
        plain = self._plain.read(message)
        if plain is not None:
            return Asked(self._surface.model(plain.model_name, plain.model_version), plain.given, (), plain.id)
        if len(message) > SMALL_BYTES and is_crowded(message):
            raise Problem(413, "too_large", "the request has more tensors than any model", hint="send fewer at once")
        request = self._parsed(self._request, message)
        model = self._surface.model(request.model_name, request.model_version)
        _check_numbers(request, model)
        given, wanted = _given(request), [_wanted(output) for output in request.outputs]
        is_final = FINAL in request.parameters and request.parameters[FINAL].bool_param
        return Asked(model, given, wanted, request.id.encode(), is_final)

    def _parsed(self, kind: type[Message], message: bytes) -> Any:
        try:
            return kind.FromString(message)
        except DecodeError as error:
            name = kind.DESCRIPTOR.full_name
            raise Problem(400, "invalid_input", f"the message is no {name}", hint="compare the .proto files") from error

    def _model_ready(self, request: Any) -> Mapping[str, object]:
        try:
            self._surface.model(request.name, request.version)
        except Problem as problem:
            if problem.status != 503:
                raise
            return {"ready": False}
        return {"ready": self._surface.is_ready}

    def _statistics(self, request: Any) -> Mapping[str, object]:
        if request.name and request.version:
            models = [self._surface.model(request.name, request.version)]
        else:
            entries = self._surface.index()
            models = [self._surface.model(str(each["name"]), str(each["version"])) for each in entries]
            if request.name:
                default = self._surface.model(request.name, "")
                models = [each for each in models if each.name == default.name]
        return {"model_stats": [each.scorer.statistics.entry(each.name, each.version) for each in models]}

    def _index(self, request: Any) -> Mapping[str, object]:
        return {"models": [each for each in self._surface.index() if not request.ready or each["state"] == "READY"]}

    def _load(self, request: Any) -> Mapping[str, object]:
        name = request.model_name or request.repository_name
        try:
            self._surface.model(name, "")
        except Problem as problem:
            if problem.status != 404:
                raise
            detail = f"failed to load '{shorten(name)}', this server serves one model only"
            raise Problem(404, "not_found", detail, hint="deploy another service") from problem
        if request.parameters:
            raise mistake(f"failed to load '{shorten(name)}', it is not loaded with other parameters or files")
        return {"model_name": name, "isLoaded": True}

    def _unload(self, request: Any) -> Mapping[str, object]:
        name = request.model_name or request.repository_name
        self._surface.model(name, "")
        hint = "pause or delete its service"
        raise Problem(409, "conflict", f"failed to unload '{shorten(name)}', this server lives for it", hint=hint)


def metadata_of(model: TensorModel) -> dict[str, object]:
    """The model's metadata."""
    signature = model.signature
    told = {"name": model.name, "versions": list(model.versions), "platform": signature.platform}
    return {**told, "inputs": list(map(metadata, signature.inputs)), "outputs": list(map(metadata, signature.outputs))}


def _check_numbers(request: Any, model: TensorModel) -> None:
    """Refuse more tensors than the model has before they are looked at: an empty one is two bytes of the message.

    Those named twice or unknown have their own words, up to twice as many as there are.
    """
    inputs, outputs = model.signature.inputs, model.signature.outputs
    for what, given, known in (
        ("inputs", request.inputs, inputs),
        ("raw_input_contents", request.raw_input_contents, inputs),
        ("outputs", request.outputs, outputs),
    ):
        if len(given) > 2 * len(known) + 8:
            raise mistake(f"the request has {len(given)} {what}; the model has {len(known)}")


def _given(request: Any) -> list[Given]:
    """The input tensors, each with its raw contents or its typed ones. Raises `Problem` 400."""
    inputs, raws = request.inputs, request.raw_input_contents
    if not raws:
        return [Given(each.name, each.datatype, _shape(each), _contents(each)) for each in inputs]
    if len(raws) != len(inputs):
        detail = f"the request has {len(inputs)} inputs and {len(raws)} raw_input_contents"
        raise mistake(detail, "send one raw content for each input, or typed contents in every input")
    given = []
    for tensor, raw in zip(inputs, raws, strict=True):
        if tensor.HasField("contents"):
            what = f"the input {shorten(tensor.name)!r}"
            raise mistake(f"{what} has typed contents beside raw_input_contents", "send one of them")
        _refuse_shared_memory(tensor)
        given.append(Given(tensor.name, tensor.datatype, _shape(tensor), raw))
    return given


def _shape(tensor: Any) -> tuple[int, ...]:
    if len(tensor.shape) > MOST_DIMENSIONS:
        raise mistake(f"the input {shorten(tensor.name)!r} has {len(tensor.shape)} dimensions")
    return tuple(tensor.shape)


def _contents(tensor: Any) -> list[object] | NDArray[np.generic]:
    """Typed contents as an array; texts as a list of their bytes. Raises `Problem` 400."""
    _refuse_shared_memory(tensor)
    what = f"the input {shorten(tensor.name)!r}"
    found: list[object] | NDArray[np.generic]
    if tensor.datatype == "BYTES":
        name, found = "bytes_contents", list(tensor.contents.bytes_contents)
    elif (place := CONTENTS.get(tensor.datatype)) is None:
        if tensor.datatype in ("FP16", "BF16"):
            raise mistake(f"{what} is {tensor.datatype}, which has no typed contents", "send raw_input_contents")
        return []  # no datatype of the protocol: refused as not the model's
    else:
        name = place[0]
        values = getattr(tensor.contents, name)
        found = np.fromiter(values, place[1], len(values))
    others = [field.name for field, _ in tensor.contents.ListFields() if field.name != name]
    if others:
        raise mistake(f"{what} is {tensor.datatype} and has {others[0]}; expected {name}")
    return found


def _wanted(output: Any) -> Wanted:
    _refuse_shared_memory(output)
    if "classification" not in output.parameters:
        return Wanted(output.name, is_binary=True)
    given = output.parameters["classification"]
    if given.WhichOneof("parameter_choice") not in ("int64_param", "uint64_param"):
        raise mistake(f"the `classification` of the output {shorten(output.name)!r} must be an integer")
    return Wanted(output.name, given.int64_param or given.uint64_param, is_binary=True)


def _refuse_shared_memory(tensor: Any) -> None:
    for name in tensor.parameters:
        if name in SHARED_MEMORY:
            raise mistake(f"the tensor {shorten(tensor.name)!r} is in shared memory, which is not served", "send it")


def _no_shared_memory(request: Any) -> Mapping[str, object]:
    detail = "shared memory is not served: clients and model servers may be on different machines"
    raise Problem(501, "not_served", detail, hint="send the tensors in the request")


def _trace_settings(request: Any) -> Mapping[str, object]:
    values = {name: value if isinstance(value, list) else [value] for name, value in NO_TRACE.items()}
    for name, wished in request.settings.items():
        if list(wished.value) not in ([], values.get(name)):
            raise _unchangeable("trace", name)
    return {"settings": {name: {"value": value} for name, value in values.items()}}


def _log_settings(request: Any) -> Mapping[str, object]:
    values = {name: {CHOICES[type(value)]: value} for name, value in LOGGING.items()}
    for name, wished in request.settings.items():
        chosen = wished.WhichOneof("parameter_choice")
        if chosen and values.get(name) != {chosen: getattr(wished, chosen)}:
            raise _unchangeable("log", name)
    return {"settings": values}


def _unchangeable(kind: str, name: str) -> Problem:
    return mistake(f"the {kind} setting {shorten(name)!r} cannot be changed here")
