"""PMML4S through JPype: a model's own output fields in Java, and values there and back.

Why not PyPMML's `predict`: it answers only what the file declares, and turns a missing integer into the smallest one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import cast

import jpype
import numpy as np
from jpype import JObject
from numpy.typing import NDArray

from serving.engines.base import InvalidModel, PredictionRefused
from serving.engines.pmml_text import encoding_of, is_read_alike, whole_text
from serving.signature import Datatype, InputField, OutputField, Scalar

Value = str | int | float | bool | None
# Utils.toDataVal turns a missing integer into Long.MIN_VALUE.
MISSING_INTEGER = -(2**63)
_WHOLE_SINGLES, _FEW_DECIMALS = 2.0**24, 5


@dataclass(frozen=True, slots=True)
class Java:
    """The classes of PMML4S and Scala that are used."""

    model: JObject
    model_builder: JObject
    series: JObject
    data_val: JObject
    output_field: JObject
    result_feature: JObject
    op_type: JObject
    unresolved: JObject
    option: JObject
    none: JObject
    source: JObject

    @staticmethod
    def attach() -> "Java":
        """Look the classes up; the JVM runs."""
        return Java(
            model=jpype.JClass("org.pmml4s.model.Model"),
            model_builder=jpype.JClass("org.pmml4s.xml.ModelBuilder"),
            series=getattr(jpype.JClass("org.pmml4s.data.Series$"), "MODULE$"),
            data_val=getattr(jpype.JClass("org.pmml4s.data.DataVal$"), "MODULE$"),
            output_field=jpype.JClass("org.pmml4s.metadata.OutputField"),
            result_feature=jpype.JClass("org.pmml4s.metadata.ResultFeature"),
            op_type=jpype.JClass("org.pmml4s.common.OpType"),
            unresolved=getattr(jpype.JClass("org.pmml4s.common.UnresolvedDataType$"), "MODULE$"),
            option=jpype.JClass("scala.Option"),
            none=getattr(jpype.JClass("scala.None$"), "MODULE$"),
            source=getattr(jpype.JClass("scala.io.Source$"), "MODULE$"),
        )


def reason_of(error: jpype.JException) -> str:
    """What a Java exception says, or what it is where it says nothing."""
    said = error.getMessage()
    name = str(error.getClass().getSimpleName())
    if name == "StackOverflowError":
        return "the model is nested too deep for Java's stack"
    if name == "OutOfMemoryError":
        return "Java ran out of memory; give the model more"
    if name in ("NullPointerException", "ClassCastException", "NotImplementedError"):
        return f"it does not know what to do with this ({name}: {said})"
    return str(said) if said is not None else name


def read_model(java: Java, path: Path) -> JObject:
    """Build the model in Java. Raises `InvalidModel` with PMML4S's reason."""
    encoding = encoding_of(path)
    try:
        if is_read_alike(path, encoding):
            return java.model.fromFile(str(path))
        return java.model_builder.fromXml(java.source.fromString(whole_text(path, encoding)))
    except jpype.JException as error:
        reason = f"PMML4S refuses the file: {reason_of(error)}"
        raise InvalidModel("pmml_refused_by_runtime", reason, "Correct the file or export the model again.") from error


def to_java(field: InputField) -> Callable[[NDArray[np.generic]], list[JObject]]:
    """How a column of this field becomes values that PMML4S takes; a missing value becomes null."""
    if field.logical_type in ("date", "time", "dateTime"):
        return _dates(field)
    if field.datatype == "FP32":
        return _singles
    if field.datatype == "FP64":
        return lambda column: [None if value is None else float(value) for value in column.tolist()]
    return lambda column: [None if _is_missing(value) else value for value in column.tolist()]


def shortest_decimal(value: object) -> float:
    """`shortest_decimals` of one number."""
    return float(str(np.float32(cast("float", value))))


def shortest_decimals(column: NDArray[np.generic]) -> NDArray[np.float64]:
    """Single-precision numbers as the doubles that people write: 1.2, not 1.2000000476837158.

    PMML4S compares in double precision with thresholds that producers write in the shortest form.
    """
    singles = column.astype(np.float32)
    exact = singles.astype(np.float64)
    found, open_ = exact.copy(), np.ones(len(exact), np.bool_)
    # Most have few decimals, and what rounds to them and back is the shortest. Not so beyond 2**24, where it ends in
    # zeros of its own, nor at a power of two, which has a nearer neighbour below than above.
    usual = (np.abs(exact) < _WHOLE_SINGLES) & ((singles.view(np.uint32) & 0x7FFFFF) != 0) | (exact == 0)
    for decimals in range(_FEW_DECIMALS):
        rounded = np.round(exact, decimals)
        fits = open_ & usual & (rounded.astype(np.float32) == singles)
        found[fits], open_[fits] = rounded[fits], False
        if not open_.any():
            return found
    found[open_] = singles[open_].astype("U32").astype(np.float64)
    return found


def from_java(output: OutputField) -> Callable[[JObject], Value]:
    """How a Java value becomes one of the output's datatype."""
    return _READERS.get(output.datatype, _as_text)


def same_label(label: Scalar, value: JObject) -> bool:
    """Whether a class label of the signature is this value of PMML4S."""
    if isinstance(label, bool):
        return str(value).lower() == str(label).lower()
    if isinstance(label, int | float):
        try:
            return float(label) == float(str(value))
        except ValueError:
            return False
    return str(value) == label


def as_text(label: Scalar) -> str:
    """A label as a PMML file writes it."""
    return str(label).lower() if isinstance(label, bool) else str(label)


def _singles(column: NDArray[np.generic]) -> list[JObject]:
    if column.dtype == object:
        return [_shortest(value) for value in column.tolist()]
    return cast("list[JObject]", shortest_decimals(column).tolist())


def _shortest(value: object) -> float | None:
    return None if value is None else shortest_decimal(value)


def _is_missing(value: object) -> bool:
    return value is None or value != value  # NaN is the one value that differs from itself


def _dates(field: InputField) -> Callable[[NDArray[np.generic]], list[JObject]]:
    java_date = jpype.JClass("java.util.Date")

    def convert(column: NDArray[np.generic]) -> list[JObject]:
        return [None if _is_missing(value) else java_date(jpype.JLong(_milliseconds(field, value))) for value in column]

    return convert


def _milliseconds(field: InputField, value: object) -> int:
    text = str(value)
    try:
        if field.logical_type == "time":
            moment = datetime.combine(date(1970, 1, 1), time.fromisoformat(text))
        elif field.logical_type == "date":
            # dateDaysSinceYear subtracts a 1 January at the present time of day: a day's last moment survives that.
            moment = datetime.combine(date.fromisoformat(text), time.max)
        else:
            moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise PredictionRefused(f"{field.name}: '{text}' is no ISO 8601 {field.logical_type}") from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _as_float(value: JObject) -> float:
    if value is None:
        return float("nan")
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _as_integer(value: JObject) -> int | None:
    number = _as_float(str(value) if value is not None else None)
    if number != number or number <= MISSING_INTEGER:
        return None
    return int(str(value)) if str(value).lstrip("-").isdigit() else int(number)


def _as_boolean(value: JObject) -> bool | None:
    return None if value is None else str(value).lower() in ("true", "1", "1.0")


def _as_text(value: JObject) -> str | None:
    if value is None:
        return None
    if isinstance(value, float) and float(value).is_integer():
        return str(int(value))
    return str(value)


_READERS: dict[Datatype, Callable[[JObject], Value]] = {
    "FP32": _as_float,
    "FP64": _as_float,
    "INT64": _as_integer,
    "BOOL": _as_boolean,
}
