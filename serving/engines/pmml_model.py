"""A PMML model in memory: columns in, the signature's outputs out."""

import threading
from collections.abc import Callable, Mapping, Sequence

import jpype
import numpy as np
from jpype import JObject
from numpy.typing import NDArray

from serving.engines.base import Columns, PredictionRefused, Texts
from serving.engines.pmml_bound import BoundRow
from serving.engines.pmml_java import Java, Value, from_java, reason_of, shortest_decimal, shortest_decimals, to_java
from serving.engines.pmml_plan import OutputPlan
from serving.engines.pmml_table import NotPlain, Table
from serving.signature import InputField, OutputField, Signature

# A table copied at once costs 30 microseconds, a row of doubles 3.
_FEW_ROWS = 8
_FLOATS = ("FP32", "FP64")
_DTYPES: Mapping[str, type[np.generic]] = {"FP32": np.float32, "FP64": np.float64, "INT64": np.int64, "BOOL": np.bool_}
# Without these an answer is none, and the record is refused.
_ESSENTIAL = ("label", "value", "cluster", "score", "component")


class LoadedPmml:
    """Implements `LoadedModel`, `BindableModel` and `GroupingModel`."""

    execution_provider = "JVM"

    def __init__(self, java: Java, model: JObject, signature: Signature) -> None:
        self._outputs = signature.outputs
        known = {field.name: field for field in signature.inputs}
        self._order: list[InputField | None] = [known.get(str(name)) for name in model.inputNames()]
        self._converters = [to_java(field) if field else None for field in self._order]
        self._all_float = all(field is not None and field.datatype in _FLOATS for field in self._order)
        self._readers = [from_java(output) for output in signature.outputs]
        self._objects, self._doubles = jpype.JArray(JObject), jpype.JArray(jpype.JDouble)
        self._series_of = java.series.fromArray
        self._plan = OutputPlan(java, model, signature)
        self._group = _group_position(model)
        self.group = None if self._group is None else str(model.inputNames()[self._group])
        # A field without declared values learns new ones in an unsynchronised map, and an association model
        # remembers the basket of the record before.
        self._lock = threading.Lock() if _changes_while_it_predicts(model) else None
        self._table = self._plan.table if self._lock is None else None
        self._warm_up()

    def predict(self, columns: Columns) -> Columns:
        """See `LoadedModel.predict`."""
        rows = self._rows(columns)
        if self._table is not None:
            plain = self._plain_answers(self._table, rows)
            if plain is not None:
                return plain
        values_of, series_of = self._plan.values_of, self._series_of
        try:
            if self._lock is None:
                answers = [values_of(series_of(row)) for row in rows]
            else:
                with self._lock:
                    self._forget_basket()
                    answers = [values_of(series_of(row)) for row in rows]
        except jpype.JException as error:
            raise PredictionRefused(f"the model cannot answer: {reason_of(error)}") from error
        return self._columns(answers)

    def bind(self, inputs: Columns, outputs: Columns, texts: Sequence[str]) -> Callable[[], Texts]:
        """See `BindableModel.bind`. Raises `PredictionRefused` for a model that is not all floats, or remembers."""
        floats = [inputs[field.name] for field in self._order if field is not None and field.name in inputs]
        if self._table is None or not self._all_float or len(floats) != len(self._order):
            raise PredictionRefused("the model is not asked in memory that stays")
        if len(floats[0]) > 1:
            return self._bound_table(inputs, outputs, texts)
        places = {output.name: place for output, place in zip(self._outputs, self._plan.slices, strict=True)}
        row = BoundRow(self._table, floats, self._outputs, places)
        for name, array in outputs.items():
            row.writes(name, array)
        returned = row.returns(texts)

        def run() -> Texts:
            try:
                row.run()
            except jpype.JException as error:
                raise PredictionRefused(reason_of(error)) from error
            return returned

        return run

    def _bound_table(self, inputs: Columns, outputs: Columns, texts: Sequence[str]) -> Callable[[], Texts]:
        def run() -> Texts:
            found = self.predict(inputs)
            for name, array in outputs.items():
                array[...] = found[name]
            if any(None in found[name] for name in texts):
                raise PredictionRefused("an output is empty")
            return [found[name] for name in texts]

        return run

    def close(self) -> None:
        """Nothing to free here: Java's collector takes the model when this object goes."""

    def _plain_answers(self, table: Table, rows: JObject) -> dict[str, NDArray[np.generic]] | None:
        """The answers where all of them are plain values; else a closer look finds what is missing, and where."""
        try:
            if len(rows) <= _FEW_ROWS:
                return self._columns([table.answer(row) for row in rows])
            answers = table.answers(rows if isinstance(rows, jpype.JArray) else self._objects(rows))
            places = zip(self._outputs, self._plan.slices, strict=True)
            found = {output.name: table.column(output, place, answers) for output, place in places}
        except (jpype.JException, NotPlain):
            return None
        for output in self._outputs:
            if (
                output.role in _ESSENTIAL
                and found[output.name].dtype.kind == "f"
                and np.isnan(found[output.name]).any()
            ):
                return None
        return found

    def _rows(self, columns: Columns) -> JObject:
        if not columns:
            raise PredictionRefused("no input is given: a model cannot answer nothing at all")
        size = len(next(iter(columns.values())))
        if self._all_float:
            present = [columns.get(field.name) for field in self._order if field is not None]
            floats = [column for column in present if column is not None and column.dtype.kind == "f"]
            if len(floats) == len(self._order):
                return self._float_rows(floats, size)
        converted = []
        for field, convert in zip(self._order, self._converters, strict=True):
            column = columns.get(field.name) if field else None
            converted.append([None] * size if column is None or convert is None else convert(column))
        return [self._objects(row) for row in zip(*converted, strict=True)]

    def _float_rows(self, columns: list[NDArray[np.generic]], size: int) -> JObject:
        """Rows of Java doubles: one by one while they are few, else in one copy of the whole table."""
        if size == 1:
            row = [
                shortest_decimal(column[0]) if field is not None and field.datatype == "FP32" else column[0]
                for field, column in zip(self._order, columns, strict=True)
            ]
            return [self._doubles(row)]
        doubles = [
            shortest_decimals(column) if field is not None and field.datatype == "FP32" else column
            for field, column in zip(self._order, columns, strict=True)
        ]
        if size <= _FEW_ROWS:
            return [self._doubles(row) for row in zip(*(column.tolist() for column in doubles), strict=True)]
        return jpype.JArray.of(np.ascontiguousarray(np.column_stack(doubles), np.float64), jpype.JDouble)

    def _columns(self, answers: list[list[JObject]]) -> dict[str, NDArray[np.generic]]:
        found: dict[str, NDArray[np.generic]] = {}
        for output, reader, (start, stop) in zip(self._outputs, self._readers, self._plan.slices, strict=True):
            if len(output.shape) == 2:
                table = [[reader(value) for value in answer[start:stop]] for answer in answers]
                found[output.name] = np.asarray(table, np.float64).reshape(len(answers), stop - start)
            else:
                found[output.name] = _column(output, [reader(answer[start]) for answer in answers])
        return found

    def _forget_basket(self) -> None:
        """A group that never occurs ends the basket of the last call."""
        if self._group is not None:
            row: list[JObject] = [None] * len(self._order)
            row[self._group] = "\0"
            self._plan.values_of(self._series_of(self._objects(row)))

    def _warm_up(self) -> None:
        """One answer to nothing: PMML4S sets field positions up at the first call, which threads must not share."""
        try:
            self._plan.values_of(self._series_of(self._objects([None] * len(self._order))))
        except jpype.JException:
            return  # many models cannot answer nothing; that is fine


def _column(output: OutputField, values: list[Value]) -> NDArray[np.generic]:
    if output.role in _ESSENTIAL:
        empty = next((index for index, value in enumerate(values) if value is None or value != value), None)
        if empty is not None:
            # Who asks record by record counts them himself.
            which = "this record" if len(values) == 1 else f"record {empty}"
            raise PredictionRefused(
                f"the model has no answer for {which}: a value is missing, or is not one the model knows"
            )
    if output.datatype == "BYTES":
        column = np.empty(len(values), np.object_)
        column[:] = values
        return column
    if output.datatype not in _FLOATS and any(value is None for value in values):
        raise PredictionRefused(f"the model leaves its output '{output.name}' empty for these values")
    return np.asarray(values, _DTYPES[output.datatype])


def _group_position(model: JObject) -> int | None:
    """Where among the inputs the field is that says to which basket an item belongs."""
    schema = model.miningSchema()
    if schema is None:
        return None
    names = [str(name) for name in model.inputNames()]
    return next((i for i, name in enumerate(names) if str(schema.apply(name).usageType()) == "group"), None)


def _changes_while_it_predicts(model: JObject) -> bool:
    if str(model.modelElement()) == "AssociationModel":
        return True
    return any(field.isCategorical() and field.attribute().isMutable() for field in model.inputFields())
