"""One model as the library knows it: its buffers, what it may be asked, and how its answers are put together."""

import ctypes
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from serving.answers import Answers
from serving.datatypes import DTYPES
from serving.elements import refuses_invalid
from serving.engines.base import BindableModel, Columns, LoadedModel, PredictionRefused, Texts
from serving.native.library import Server
from serving.native.telling import Told, Untold, encoded, leaves_of, record_of, shapes_of, told
from serving.score import Scorer
from serving.signature import Datatype, InputField, OutputField

# In the order of `source/model.hpp`.
_ORDER: Final[tuple[Datatype, ...]] = (
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP32", "FP64", "BYTES",
)  # fmt: skip
DATATYPES: Final = {name: number for number, name in enumerate(_ORDER)}
AS_RECORD, AS_ROW, AS_INSTANCE, COLUMNS, TAIL, TENSORS_BEGIN = range(6)
MOST_VALUES: Final = 16_384  # of a request, as there
MOST_RECORDS: Final = 256
MOST_STAMPED: Final = 2_048  # requests whose figures it keeps until they are taken
_STAMPS: Final = 6
_MOST_BOUND = 16  # numbers of records that the engine is bound to at once
_MOST_TEXTS = 1_024  # different words of one output
_LONGEST_TEXT = 256
_ALIGNMENT: Final = 64


@dataclass(frozen=True, slots=True)
class Named:
    """What a model is called on the tensor surface."""

    name: str
    version: str


class _Words:
    """The words of one output that the library knows, and where it reads which of them an answer says."""

    def __init__(self, output: int, buffer: NDArray[np.generic]) -> None:
        self.output, self.known = output, dict[str, int]()
        self.codes, self.width = buffer.reshape(-1), buffer.size // len(buffer)


class BoundModel:
    """A model in the library's hands. Lives on the loop."""

    def __init__(self, server: Server, scorer: Scorer, named: Named, sample: Columns) -> None:
        """`sample` is one checked record. Raises `Untold` for a model that only Python can serve."""
        self._server, self._scorer = server, scorer
        signature, model = scorer.signature, scorer.loaded
        if signature.batch != "stack" or not isinstance(model, BindableModel):
            raise Untold("its engine is not bound to memory")
        self._model: BindableModel = model
        self._bound: dict[int, Callable[[], Texts]] = {}
        self._is_hopeless = False  # it answers with words that are too many, or too long: each would be asked twice
        asked = _asked(model, sample)
        self._shapes = shapes_of(asked)
        if any(column.dtype != DTYPES[field.datatype] for field in signature.outputs for column in [asked[field.name]]):
            raise Untold("its outputs are of other datatypes than it says")
        width = sum(int(np.prod(_dimensions(field))) for field in signature.inputs)
        self.most_records = min(MOST_RECORDS, MOST_VALUES // max(width, 1))
        self.number: int = self._call("model", self.most_records, MOST_STAMPED)
        self._inputs = {field.name: self._input(field) for field in signature.inputs}
        self._outputs = {field.name: self._output(field) for field in signature.outputs}
        self._texts = [field.name for field in signature.outputs if field.datatype == "BYTES"]
        self._words = [_Words(at, self._outputs[name]) for at, name in enumerate(self._outputs) if name in self._texts]
        self._name_keys()
        self._tell_tensors(named)
        self._tell_records()
        self._tell_instances()
        self._take = server.library.function("take")
        scorer.statistics.also_count(self._taken)

    def run(self, records: int) -> bool:
        """Ask the engine about the records in the buffers; whether their answers stand in the others."""
        if self._is_hopeless:
            return False
        try:
            texts = (self._bound.get(records) or self._bind(records))()
        except PredictionRefused:  # Python says it in words
            return False
        return not texts or self._note(texts, records)

    def _call(self, name: str, *arguments: object) -> int:
        """Tell the library something of the model. Raises `Untold` where it does not take it."""
        given = arguments if name == "model" else (self.number, *arguments)
        answer: int = self._server.library.function(name)(self._server.at, *given)
        if answer < 0:
            raise Untold(f"it is larger than what is compiled: {name}")
        return answer

    def _bind(self, records: int) -> Callable[[], Texts]:
        if len(self._bound) >= _MOST_BOUND:
            self._bound.clear()
        inputs = {name: array[:records] for name, array in self._inputs.items()}
        outputs = {name: array[:records] for name, array in self._outputs.items() if name not in self._texts}
        self._bound[records] = bound = self._model.bind(inputs, outputs, self._texts)
        return bound

    def _note(self, texts: Texts, records: int) -> bool:
        """Write words as their places in the library's table, which learns those that are new."""
        for words, column in zip(self._words, texts, strict=True):
            listed, codes, known = column.ravel().tolist(), words.codes, words.known
            if len(listed) != records * words.width:
                return False
            for place, word in enumerate(listed):
                code = known.get(word)
                codes[place] = self._learn(words, word) if code is None else code
        return True

    def _learn(self, words: "_Words", word: object) -> int:
        text = encoded(word)
        if not isinstance(word, str) or len(words.known) >= _MOST_TEXTS or len(text) > _LONGEST_TEXT:
            self._is_hopeless = True
            return -1
        self._call("text", words.output, text, len(text))
        return words.known.setdefault(word, len(words.known))

    def _taken(self) -> NDArray[np.int64]:
        rows = np.empty((MOST_STAMPED, _STAMPS), np.int64)
        count = self._take(self._server.at, self.number, rows.ctypes.data)
        return rows[:count]

    # What the library is told.

    def _input(self, field: InputField) -> NDArray[np.generic]:
        dimensions = _dimensions(field)
        if field.datatype not in DATATYPES or field.datatype == "BYTES":
            raise Untold(f"its input {field.name!r} is {field.datatype}")
        span = _span(field)
        array = _aligned((self.most_records, *dimensions), DTYPES[field.datatype])
        name, word = field.name.encode(), field.datatype.encode()
        axes = (ctypes.c_int64 * len(dimensions))(*dimensions)
        about = (DATATYPES[field.datatype], ctypes.addressof(axes), len(dimensions), array.ctypes.data)
        number = self._call("input", name, len(name), word, len(word), *about)
        if span is not None:
            self._call("range", number, *span)
        return array

    def _output(self, field: OutputField) -> NDArray[np.generic]:
        shape = self._shapes[field.name]
        if field.datatype not in DATATYPES:
            raise Untold(f"its output {field.name!r} is {field.datatype}")
        dtype = np.dtype(np.int32) if field.datatype == "BYTES" else DTYPES[field.datatype]
        array = _aligned((self.most_records, *shape), dtype)
        before = encoded({"name": field.name, "datatype": field.datatype})[:-1] + b',"shape":['
        between = b"".join(b",%d" % size for size in shape) + b'],"data":['
        about = (DATATYPES[field.datatype], int(np.prod(shape)), array.ctypes.data)
        self._call("output", *about, before, len(before), between, len(between))
        return array

    def _name_keys(self) -> None:
        for at, field in enumerate(self._scorer.signature.inputs):
            for place, feature in enumerate(field.features or ()):
                name = feature.encode()
                self._call("key", name, len(name), at, place)
        for at, field in enumerate(self._scorer.signature.inputs):
            name = field.name.encode()
            self._call("key", name, len(name), at, -1)

    def _tell_tensors(self, named: Named) -> None:
        begin = encoded({"model_name": named.name, "model_version": named.version})[:-1]
        self._call("frame", TENSORS_BEGIN, begin, len(begin))

    def _tell_records(self) -> None:
        """What `/predict` answers; nothing where that is no matter of pieces."""
        signature = self._scorer.signature
        try:
            record = record_of(signature, self._shapes)
            row = Answers(signature).row(record)
            as_record, as_row = told(record), told(list(row.values()))
        except Untold:
            return
        self._tell_pieces(AS_RECORD, as_record)
        self._tell_pieces(AS_ROW, as_row)
        columns = b'{"columns":' + encoded(list(row)) + b',"data":['
        for frame, text in ((COLUMNS, columns), (TAIL, self._scorer.tail)):
            self._call("frame", frame, text, len(text))

    def _tell_instances(self) -> None:
        """What KServe's V1 answers: the only output, or all by their names."""
        outputs = leaves_of(self._shapes)
        self._tell_pieces(AS_INSTANCE, told(outputs if len(outputs) > 1 else next(iter(outputs.values()))))

    def _tell_pieces(self, way: int, pieces: Told) -> None:
        for before, leaf in pieces.pieces:
            self._call("piece", way, before, len(before), leaf.output, leaf.offset, leaf.tell)
            for choice in leaf.choices:
                text = encoded(choice)
                self._call("choice", way, text, len(text))
        self._call("frame", way, pieces.end, len(pieces.end))


def _asked(model: LoadedModel, sample: Columns) -> Columns:
    try:
        return model.predict(sample)
    except PredictionRefused as error:
        raise Untold("it refuses its own sample") from error


def _span(field: InputField) -> tuple[float, float] | None:
    """The least and the greatest number that an input takes, where it refuses others. Raises `Untold`."""
    if not refuses_invalid(field) or not (field.values or field.intervals):
        return None
    if field.values or len(field.intervals or ()) != 1 or field.datatype not in ("FP32", "FP64"):
        raise Untold(f"its input {field.name!r} takes some values only")
    (interval,) = field.intervals or ()
    least = -math.inf if interval.min is None else interval.min
    greatest = math.inf if interval.max is None else interval.max
    return (
        least if interval.min_inclusive else math.nextafter(least, math.inf),
        greatest if interval.max_inclusive else math.nextafter(greatest, -math.inf),
    )


def _dimensions(field: InputField) -> tuple[int, ...]:
    """The shape of one record's value. Raises `Untold` where that is free."""
    dimensions = field.shape[1:]
    if not field.shape or any(size < 1 for size in dimensions) or field.shape[0] != -1:
        raise Untold(f"its input {field.name!r} has a free size")
    return dimensions


def _aligned(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    """Zeros at an address where onnxruntime sums as it does in its own memory."""
    size = int(np.prod(shape)) * dtype.itemsize
    memory = np.zeros(size + _ALIGNMENT, np.uint8)
    begin = -memory.ctypes.data % _ALIGNMENT
    return memory[begin : begin + size].view(dtype).reshape(shape)
