"""A PMML model over memory that stays: doubles into Java, values from there, and no columns made in between.

What it gives up at (a missing value, one of an unusual type), `LoadedPmml.predict` looks at more closely.
"""

from collections.abc import Callable, Mapping, Sequence

import jpype
import numpy as np
from jpype import JObject
from numpy.typing import NDArray

from serving.engines.base import PredictionRefused, Texts
from serving.engines.pmml_java import Value, from_java, shortest_decimal
from serving.engines.pmml_table import Table
from serving.signature import OutputField

Array = NDArray[np.generic]
Places = Mapping[str, tuple[int, int]]  # where in an answer of Java's each output lies


class BoundRow:
    """One record's inputs and outputs, and the way between them. It is no thread's but its maker's."""

    def __init__(self, table: Table, inputs: Sequence[Array], outputs: Sequence[OutputField], places: Places) -> None:
        """`inputs` are floats, in the model's own order."""
        self._answer = table.values
        self._row = jpype.JArray(jpype.JDouble)(len(inputs))
        self._inputs = [(column, column.dtype == np.float32) for column in inputs]
        self._numbers: list[tuple[Array, int, Callable[[JObject], float]]] = []
        self._others: list[tuple[Array, int, Callable[[JObject], Value]]] = []
        self._texts: dict[str, Array] = {}
        self._table, self._fields, self._places = table, {field.name: field for field in outputs}, places

    def writes(self, name: str, into: Array) -> None:
        """An output's value goes into this memory."""
        field, (start, stop) = self._fields[name], self._places[name]
        flat = into.reshape(-1)
        if field.datatype in ("FP32", "FP64"):
            self._numbers += [(flat, at, self._table.number(start + at)) for at in range(stop - start)]
        else:
            self._others.append((flat, start, from_java(field)))

    def returns(self, names: Sequence[str]) -> Texts:
        """These outputs' texts stand in what this returns, after each run."""
        for name in names:
            self._texts[name] = np.empty(1, np.object_)
            self.writes(name, self._texts[name])
        return list(self._texts.values())

    def run(self) -> None:
        """Answer what stands in the inputs. Raises `PredictionRefused`, and Java's exceptions."""
        self._row[:] = [
            shortest_decimal(column[0]) if is_single else column.item(0) for column, is_single in self._inputs
        ]
        values = self._answer(self._row)
        for into, at, number in self._numbers:
            into[at] = number(values)
        for into, at, read in self._others:
            value = read(values[at])
            if value is None:
                raise PredictionRefused("an output is empty")
            into[0] = value
