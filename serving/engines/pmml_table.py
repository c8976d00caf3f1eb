"""Whole tables through PMML4S in a few calls: the loop over the rows runs in Java.

A call from Python into Java costs microseconds, about as much as a small tree. So the way of a row (series, prediction,
array of values) is put together from Java's own method handles, and answers come back a column at a time.
"""

from collections.abc import Callable, Sequence
from typing import cast

import jpype
import numpy as np
from jpype import JObject
from numpy.typing import NDArray

from serving.engines.pmml_java import MISSING_INTEGER, Java
from serving.signature import OutputField

_SEPARATOR = "\0"  # XML, and so every text of a model, has none


class NotPlain(Exception):
    """An answer has a value that needs a closer look: a missing one, or one of another type than its column."""


class Table:
    """Answers the rows of one model. Thread-safe where the model is."""

    def __init__(self, java: Java, model: JObject) -> None:
        handles = jpype.JClass("java.lang.invoke.MethodHandles")
        self._handles, self._lookup = handles, handles.publicLookup()
        self._implement = jpype.JClass("java.lang.invoke.MethodHandleProxies").asInterfaceInstance
        self._type = jpype.JClass("java.lang.invoke.MethodType").methodType
        self._stream = jpype.JClass("java.util.Arrays").stream
        self._joined = jpype.JClass("java.util.stream.Collectors").joining
        self._values = jpype.JArray(JObject).class_
        self._readers: dict[tuple[int, str], JObject] = {}
        self._function = self._implement(jpype.JClass("java.util.function.Function").class_, self._way(java, model))
        # One row's values as Java has them, from its row. Raises Java's exceptions.
        self.values: Callable[[JObject], JObject] = self._function.apply

    def answers(self, rows: JObject) -> JObject:
        """A Java array of an array of values per row, from a Java array of rows. Raises Java's exceptions."""
        return self._stream(rows).map(self._function).toArray()

    def answer(self, row: JObject) -> list[JObject]:
        """One row's values. Raises Java's exceptions."""
        values = self.values(row)
        return [values[index] for index in range(len(values))]

    def number(self, index: int) -> Callable[[JObject], float]:
        """Reads a number from `values`. It raises Java's exceptions where that is missing, or none."""
        reader = self._reader(index, jpype.JDouble, "java.util.function.ToDoubleFunction").applyAsDouble
        return cast("Callable[[JObject], float]", reader)

    def column(self, output: OutputField, place: tuple[int, int], answers: JObject) -> NDArray[np.generic]:
        """An output's column. Raises `NotPlain`, or Java's exceptions for other types than its own."""
        start, stop = place
        if len(output.shape) == 2:
            columns = [self._doubles(index, answers) for index in range(start, stop)]
            return np.stack(columns, axis=1)
        if output.datatype in ("FP32", "FP64"):
            return self._doubles(start, answers).astype(np.float32 if output.datatype == "FP32" else np.float64)
        if output.datatype == "INT64":
            return self._integers(start, answers)
        if output.datatype == "BYTES":
            return self._texts(start, answers)
        raise NotPlain

    def _doubles(self, index: int, answers: JObject) -> NDArray[np.float64]:
        function = self._reader(index, jpype.JDouble, "java.util.function.ToDoubleFunction")
        return np.array(self._stream(answers).mapToDouble(function).toArray(), np.float64)

    def _integers(self, index: int, answers: JObject) -> NDArray[np.int64]:
        function = self._reader(index, jpype.JLong, "java.util.function.ToLongFunction")
        column = np.array(self._stream(answers).mapToLong(function).toArray(), np.int64)
        if (column == MISSING_INTEGER).any():
            raise NotPlain
        return column

    def _texts(self, index: int, answers: JObject) -> NDArray[np.object_]:
        function = self._reader(index, jpype.JClass("java.lang.String"), "java.util.function.Function")
        texts: Sequence[str] = str(self._stream(answers).map(function).collect(self._joined(_SEPARATOR))).split(
            _SEPARATOR
        )
        # A missing text is joined as "null": whether it is one is seen value by value.
        if len(texts) != len(answers) or "null" in texts:
            raise NotPlain
        column = np.empty(len(texts), np.object_)
        column[:] = texts
        return column

    def _reader(self, index: int, kind: JObject, interface: str) -> JObject:
        """A function from a row's values to one of them, which it takes for what it must be."""
        known = self._readers.get((index, interface))
        if known is None:
            get = self._handles.arrayElementGetter(self._values)
            typed = self._handles.insertArguments(get, 1, [jpype.JInt(index)]).asType(
                self._type(kind.class_, self._values)
            )
            known = self._readers[index, interface] = self._implement(jpype.JClass(interface).class_, typed)
        return known

    def _way(self, java: Java, model: JObject) -> JObject:
        """From one row to its values."""
        series = jpype.JClass("org.pmml4s.data.Series").class_
        anything = jpype.JClass("java.lang.Object").class_
        read = java.series.getClass().getMethod("fromArray", [anything])
        made = self._lookup.unreflect(read).bindTo(java.series)
        predict = self._lookup.unreflect(java.model.class_.getMethod("predict", [series])).bindTo(model)
        made = self._handles.filterReturnValue(made, predict)
        return self._handles.filterReturnValue(made, self._lookup.unreflect(series.getMethod("asArray", [])))
