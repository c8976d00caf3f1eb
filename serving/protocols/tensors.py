"""Infer requests without a transport: given tensors to checked engine columns, engine outputs to wanted tensors.

REST and gRPC read their messages into these classes and write these classes as theirs; every rule is kept here once.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from serving.datatypes import BINARY_ONLY, DTYPES, FLOATS, INTEGERS, integer_range
from serving.engines.base import Columns
from serving.json_text import plain
from serving.problems import Problem, shorten
from serving.protocols.classes import classified
from serving.protocols.raw import Buffer, array_of, raw_of, text_of, texts_of
from serving.score import Scorer
from serving.signature import Datatype, InputField, OutputField

_TOO_LARGE = 2**63  # for a dimension, whatever the datatype
_MOST_SHOWN = 32  # dimensions of a stranger's shape that are repeated to him
_FEW = 64  # numbers that are looked at quicker one by one


@dataclass(slots=True)  # not frozen: see `messages`
class Given:
    """One input tensor as a client sent it.

    `data` is flat values row by row (of BYTES: `str`, or `bytes` in UTF-8), or an array whose elements in their order
    are the values, or the bytes of the binary extension.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: list[object] | NDArray[np.generic] | Buffer


@dataclass(slots=True)  # not frozen: see `messages`
class Wanted:
    """One output that a client asks for; `classes` asks for so many best of its scores, 0 for the output itself."""

    name: str
    classes: int = 0
    is_binary: bool = False


@dataclass(slots=True)  # not frozen: see `messages`
class Tensor:
    """One output as it is told: its array has the datatype's dtype (BF16: float32), that of BYTES is one of `str`."""

    name: str
    datatype: Datatype
    array: NDArray[np.generic]
    is_binary: bool = False

    def raw(self) -> Buffer:
        """The bytes of the binary extension, which carry every datatype and value."""
        return raw_of(self.datatype, self.array)

    def values(self) -> list[object]:
        """The flat values for a transport that carries no half precision, NaN or infinity. Raises `Problem` 400."""
        what, as_binary = f"the output {self.name!r}", "ask for it as binary data"
        if self.datatype in BINARY_ONLY:
            raise mistake(f"{what} is {self.datatype}, which JSON does not carry", f"{as_binary}, or for other outputs")
        flat: list[object] = self.array.reshape(-1).tolist()
        if self.datatype in FLOATS and not _are_finite(self.array, flat):
            hint = f"{as_binary}, or for other outputs, or use POST /predict, which writes null"
            raise mistake(f"{what} has NaN or infinite values, which JSON does not carry", hint)
        return flat


class TensorModel:
    """Answers infer requests of one scorer, whichever transport they came by. Thread-safe: it never changes."""

    def __init__(self, scorer: Scorer, version: str | None = None, versions: Sequence[str] = ()) -> None:
        """`version` is what clients call it where that is not the model's own, `versions` all that they may ask for."""
        self.scorer, self.signature, self.name = scorer, scorer.signature, scorer.identity.name
        self.version = version or scorer.identity.version
        self.versions = tuple(versions or [self.version])
        self._validator = scorer.validator
        self._inputs = {field.name: field for field in self.signature.inputs}
        self._outputs = {field.name: field for field in self.signature.outputs}
        self._all = tuple(Wanted(name) for name in self._outputs)

    def infer(self, given: Sequence[Given], wanted: Sequence[Wanted]) -> list[Tensor]:
        """Check, run, and pick what is wanted (nothing: all outputs). Raises `Problem` 400 or 422."""
        columns, wanted = self.columns(given), self.wanted(wanted)
        return self.tensors(self.scorer.run(columns), wanted)

    def columns(self, given: Sequence[Given]) -> Columns:
        """The engine's columns of given tensors. Raises `Problem` naming the input, what it has and what it needs."""
        columns: dict[str, NDArray[np.generic]] = {}
        for tensor in given:
            if tensor.name in columns:
                raise mistake(f"the input {tensor.name!r} is given twice")
            columns[tensor.name] = self._column(tensor, self.input_field(tensor.name))
        if not columns and self._inputs:
            raise mistake("the request has no inputs", f"this model takes: {self._validator.header.known()}")
        self._validator.require(columns, "/inputs")
        return columns

    def input_field(self, name: str) -> InputField:
        """The input of this name. Raises `Problem` 400 with the nearest one there is."""
        field = self._inputs.get(name)
        if field is None:
            raise mistake(f"unknown input {shorten(name)!r}", self._validator.unknown_hint(name))
        return field

    def wanted(self, wanted: Sequence[Wanted]) -> Sequence[Wanted]:
        """The outputs to answer: these, or all where none is named. Raises `Problem` 400 for one that cannot be."""
        if not wanted:
            return self._all
        for each in wanted:
            field = self._outputs.get(each.name)
            if field is None:
                known = ", ".join(shorten(name, 40) for name in list(self._outputs)[:12])
                raise mistake(f"unknown output {shorten(each.name)!r}", f"this model answers: {known}")
            if each.classes < 0:
                raise mistake(f"the output {each.name!r} is asked for {each.classes} classes; ask for 1 or more")
            if each.classes and field.datatype in ("BYTES", "BOOL"):
                raise mistake(f"the output {each.name!r} is {field.datatype}, which cannot be ranked by classification")
        if len({each.name for each in wanted}) < len(wanted):
            raise mistake("an output is asked for twice")
        return wanted

    def tensors(self, outputs: Columns, wanted: Sequence[Wanted]) -> list[Tensor]:
        """The wanted tensors of an engine's answer. Raises `Problem` 400 for values that no tensor has."""
        return [self._tensor(outputs[each.name], self._outputs[each.name], each) for each in wanted]

    def _column(self, tensor: Given, field: InputField) -> NDArray[np.generic]:
        what, data, shape = f"the input {field.name!r}", tensor.data, tensor.shape
        _check_declaration(what, tensor, field)
        if isinstance(data, np.ndarray) and field.datatype != "BYTES":
            return self._checked(field, _fitted(what, data, field.datatype, shape))
        if isinstance(data, bytes | memoryview):
            if field.datatype != "BYTES":
                return self._checked(field, array_of(what, field.datatype, shape, data))
            flat = texts_of(what, math.prod(shape), data)
        else:
            if field.datatype in BINARY_ONLY:
                hint = "send it as binary data, or use POST /predict"
                raise mistake(f"{what} is {field.datatype}, which JSON does not carry", hint)
            flat = _flat(data)
            _check_count(what, len(flat), shape)
            _refuse_null(what, flat)
            if field.datatype == "BYTES":
                flat = [text_of(what, at, each) if type(each) is bytes else each for at, each in enumerate(flat)]
        return self._validator.tensor(field.name, flat, shape)

    def _checked(self, field: InputField, array: NDArray[np.generic]) -> NDArray[np.generic]:
        self._validator.array(field.name, array)
        return array

    def _tensor(self, column: NDArray[np.generic], field: OutputField, wanted: Wanted) -> Tensor:
        array = _told(field, column)
        if not wanted.classes:
            return Tensor(field.name, field.datatype, array, wanted.is_binary)
        has_records = self.signature.batch == "stack"
        texts = classified(array, wanted.classes, field.labels or (), has_records=has_records)
        return Tensor(field.name, "BYTES", texts, wanted.is_binary)


def _are_finite(array: NDArray[np.generic], flat: list[object]) -> bool:
    if len(flat) > _FEW:
        return bool(np.isfinite(array).all())
    return all(map(math.isfinite, cast("list[float]", flat)))


def mistake(detail: str, hint: str = "") -> Problem:
    """The problem of a request that the protocol or the model does not take."""
    return Problem(400, "invalid_input", detail, hint=hint)


def _check_declaration(what: str, tensor: Given, field: InputField) -> None:
    """Refuse a datatype or shape that is not the model's."""
    if tensor.datatype != field.datatype:
        raise mistake(f"{what} has the datatype {shorten(tensor.datatype)!r}; expected {field.datatype}")
    fits = len(tensor.shape) == len(field.shape) and all(
        given == expected if expected >= 0 else 0 < given < _TOO_LARGE
        for given, expected in zip(tensor.shape, field.shape, strict=True)
    )
    if not fits:
        shown = ", ".join(map(_dimension, tensor.shape[:_MOST_SHOWN]))
        raise mistake(f"{what} has the shape [{shown}]; expected {list(field.shape)}")


def _dimension(size: int) -> str:
    # Python writes no integer of more than some thousand digits.
    return str(size) if abs(size) < _TOO_LARGE else "more than 2^63"


def _check_count(what: str, count: int, shape: Sequence[int]) -> None:
    if count != math.prod(shape):
        raise mistake(f"{what} has {count} values; its shape {list(shape)} has {math.prod(shape)}")


def _refuse_null(what: str, flat: list[object]) -> None:
    if None in flat:
        raise mistake(f"{what} has a null at {flat.index(None)}", "leave out what is missing")


def _flat(data: list[object] | NDArray[np.generic]) -> list[object]:
    return data if isinstance(data, list) else cast("list[object]", data.reshape(-1).tolist())


def _fitted(what: str, array: NDArray[np.generic], datatype: Datatype, shape: Sequence[int]) -> NDArray[np.generic]:
    """An array as the engine wants it: gRPC carries small integers in large ones."""
    _check_count(what, array.size, shape)
    dtype = DTYPES[datatype]
    if array.dtype != dtype:
        if datatype not in INTEGERS or array.dtype.kind not in "iu":
            raise mistake(f"{what} has values of {array.dtype}; expected {datatype}")
        low, high = integer_range(datatype)
        if array.size and not (low <= int(array.min()) and int(array.max()) <= high):
            raise mistake(f"{what} has a value that does not fit into {datatype}", f"from {low} to {high}")
        array = array.astype(dtype)
    return np.ascontiguousarray(array).reshape(shape)


def _told(field: OutputField, column: NDArray[np.generic]) -> NDArray[np.generic]:
    """An engine's column with the dtype that its field promises."""
    kinds = set(map(type, column.reshape(-1).tolist())) if column.dtype == np.object_ else set[type]()
    if type(None) in kinds:
        detail = f"the output {field.name!r} has missing values, which the protocol does not know"
        raise mistake(detail, "use POST /predict")
    if field.datatype != "BYTES":
        dtype = DTYPES[field.datatype]
        return column if column.dtype == dtype else column.astype(dtype)
    if kinds <= {str} and column.dtype == np.object_:
        return column
    texts = np.empty(column.shape, np.object_)
    texts.reshape(-1)[:] = [_text(value) for value in column.reshape(-1).tolist()]
    return texts


def _text(value: object) -> str:
    """What stands in a BYTES tensor; an engine's structured answers (rules) travel as JSON texts."""
    return value if isinstance(value, str) else msgspec.json.encode(value, enc_hook=plain).decode()


def metadata(field: InputField | OutputField) -> Mapping[str, object]:
    """What both transports tell of a tensor."""
    return {"name": field.name, "datatype": field.datatype, "shape": list(field.shape)}
