"""How the answer to one record is put together from an engine's outputs: pieces of constant JSON, and values between.

Found by asking `Answers` itself about outputs that say where they came from, so that there is one rule and not two.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import msgspec
import numpy as np
from numpy.typing import NDArray

from serving.answers import Answers, Record, grouped, roles_of
from serving.engines.base import Columns
from serving.json_text import plain
from serving.signature import OutputField, Signature


class Untold(Exception):
    """An answer that only Python can put together."""


class Tell(IntEnum):
    """What a piece says of its output, as `source/model.hpp` has it."""

    VALUE, GREATEST, LEAST, TRUTH, OUTLIER = range(5)


@dataclass(frozen=True, slots=True, eq=False)
class Leaf:
    """One value of an answer: which output, and where in a record's row of it."""

    output: int
    offset: int
    tell: Tell = Tell.VALUE
    choices: tuple[object, ...] = ()

    def __lt__(self, other: "Leaf") -> bool:  # numpy looks for a best one, whose place is filled below
        return self.offset < other.offset

    def __gt__(self, other: "Leaf") -> bool:
        return self.offset > other.offset


@dataclass(slots=True)
class Told:
    """Pieces in their order, each a text and the leaf behind it, and the text that ends them."""

    pieces: list[tuple[bytes, Leaf]] = field(default_factory=list)
    end: bytes = b""

    def add(self, value: object) -> None:
        """Append a value as JSON. Raises `Untold`."""
        if isinstance(value, Leaf):
            self.pieces.append((self.end, value))
            self.end = b""
        elif isinstance(value, Mapping):
            self._add_all(b"{", [(encoded(str(name)) + b":", each) for name, each in value.items()], b"}")
        elif isinstance(value, list | tuple):
            self._add_all(b"[", [(b"", each) for each in value], b"]")
        else:
            raise Untold(f"{value!r} comes from no single value of the engine")

    def _add_all(self, begin: bytes, members: Sequence[tuple[bytes, object]], end: bytes) -> None:
        self.end += begin
        for index, (before, value) in enumerate(members):
            self.end += (b"," if index else b"") + before
            self.add(value)
        self.end += end


def record_of(signature: Signature, shapes: Mapping[str, tuple[int, ...]]) -> Record:
    """The answer to one record with leaves for values; `shapes` are those of one record's outputs. Raises `Untold`."""
    marked = {name: _marked(index, shape) for index, (name, shape) in enumerate(shapes.items())}
    try:
        (record,) = Answers(signature).records(marked, 1)
    except (ValueError, TypeError, IndexError) as error:
        raise Untold(str(error)) from error
    by_role = roles_of(signature)
    if signature.task == "tensor":
        return record
    if "label" not in by_role and "probability" in by_role:
        record["label"] = _best(by_role["probability"], shapes, Tell.GREATEST)
    if "cluster" not in by_role and "distance" in by_role:
        record["cluster"] = _best(by_role["distance"], shapes, Tell.LEAST)
    if "anomaly" in by_role:
        record["anomaly"] = _anomaly(by_role["anomaly"], shapes)
    return record


def leaves_of(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, object]:
    """The outputs of one record as nested lists of leaves, by their names."""
    return {
        name: _marked(index, shape)[0].tolist() if shape else Leaf(index, 0)
        for index, (name, shape) in enumerate(shapes.items())
    }


def told(value: object) -> Told:
    """A record, or a row of a table, as pieces. Raises `Untold`."""
    pieces = Told()
    pieces.add(value)
    return pieces


def encoded(value: object) -> bytes:
    """A value as answers have it."""
    return msgspec.json.encode(value, enc_hook=plain)


def _marked(index: int, shape: tuple[int, ...]) -> NDArray[np.object_]:
    marked = np.empty((1, *shape), np.object_)
    flat = marked.reshape(-1)
    for offset in range(flat.size):
        flat[offset] = Leaf(index, offset)
    return marked


def _best(fields: list[OutputField], shapes: Mapping[str, tuple[int, ...]], tell: Tell) -> Leaf:
    """The label of the best of one output."""
    if len(fields) != 1 or len(grouped(fields)) != 1 or fields[0].datatype not in ("FP32", "FP64"):
        raise Untold("the best is chosen among several outputs, or among integers")
    (only,) = fields
    labels = list(only.labels or ())
    width = int(np.prod(shapes[only.name]))
    choices = tuple(labels[index] if index < len(labels) else index for index in range(width))
    return Leaf(list(shapes).index(only.name), 0, tell, choices)


def _anomaly(fields: list[OutputField], shapes: Mapping[str, tuple[int, ...]]) -> Leaf:
    (first, *more) = fields
    if more or first.datatype == "BYTES" or int(np.prod(shapes[first.name])) != 1:
        raise Untold("there are several anomalies, or one in words")
    is_signed = first.values is not None and -1 in first.values
    return Leaf(list(shapes).index(first.name), 0, Tell.OUTLIER if is_signed else Tell.TRUTH)


def shapes_of(outputs: Columns) -> dict[str, tuple[int, ...]]:
    """The shapes of one record's outputs. Raises `Untold` where the first axis is not the record's."""
    if any(not column.ndim or len(column) != 1 or not column.size for column in outputs.values()):
        raise Untold("its outputs are not told apart by record")
    return {name: column.shape[1:] for name, column in outputs.items()}
