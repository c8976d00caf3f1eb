"""A PMML model's inputs and targets: what the first model's MiningSchema lists, as the DataDictionary declares it."""

from serving.engines.base import InvalidModel
from serving.engines.pmml_document import DataField, MiningField, ModelOutline, PmmlDocument
from serving.signature import Datatype, InputField, Interval, Measure, Scalar, Target, Treatment

_DATATYPES: dict[str, Datatype] = {
    "string": "BYTES",
    "integer": "INT64",
    "float": "FP32",
    "double": "FP64",
    "boolean": "BOOL",
    "date": "BYTES",
    "time": "BYTES",
    "dateTime": "BYTES",
}
_TEMPORAL = frozenset({"date", "time", "dateTime"})
_MEASURES: dict[str, Measure] = {"continuous": "continuous", "categorical": "categorical", "ordinal": "ordinal"}
# Models that answer although an input is missing, whatever its MiningField says (PMML 4.4, "missing values" of each).
_TOLERANT = frozenset({"ClusteringModel", "NaiveBayesModel"})
_TOLERANT_TREES = frozenset({"aggregateNodes", "defaultChild", "lastPrediction", "weightedConfidence"})


def datatype_of(written: str) -> Datatype:
    """The Open Inference Protocol's name; `dateDaysSince[1970]` and its like are whole numbers."""
    return _DATATYPES.get(written, "INT64")


def measure_of(written: str | None) -> Measure | None:
    return _MEASURES.get(written or "")


def scalar(text: str, datatype: Datatype) -> Scalar:
    """A value written in the file, in its field's datatype. Raises `ValueError`."""
    if datatype == "INT64":
        try:
            return int(text)
        except ValueError:
            return int(float(text))
    if datatype in ("FP32", "FP64"):
        return float(text)
    if datatype == "BOOL":
        return text.strip().lower() in ("true", "1", "1.0")
    return text


def scalars(texts: list[str], field: DataField) -> tuple[Scalar, ...]:
    """The values of a field. Raises `InvalidModel` for one that its datatype cannot hold."""
    values = []
    for text in texts:
        try:
            values.append(scalar(text, datatype_of(field.datatype)))
        except (ValueError, OverflowError) as error:
            reason = (
                f"line {field.line}: DataField '{field.name}' is of type {field.datatype} but has the value '{text}'"
            )
            raise InvalidModel("pmml_invalid", reason, "Correct the dataType or the Value.") from error
    return tuple(values)


def input_fields(document: PmmlDocument) -> tuple[InputField, ...]:
    """What a caller gives: the active fields (and the group, whose items make one basket), in the schema's order."""
    model = document.model
    if model is None:
        return tuple(_input(field, None, document) for field in document.fields.values())
    asked = [field for field in model.mining_fields if field.usage in ("active", "group")]
    return tuple(_input(document.fields[field.name], field, document) for field in asked)


def target_fields(document: PmmlDocument) -> tuple[DataField, ...]:
    """The DataFields that the served model predicts."""
    if document.model is None:
        return ()
    wanted = [field.name for field in document.model.mining_fields if field.usage in ("target", "predicted")]
    return tuple(document.fields[name] for name in wanted)


def targets(document: PmmlDocument) -> tuple[Target, ...]:
    return tuple(
        Target(
            field.name,
            datatype_of(field.datatype),
            measure_of(field.optype),
            scalars(field.valid_values(), field) or None,
        )
        for field in target_fields(document)
    )


def _input(field: DataField, mining: MiningField | None, document: PmmlDocument) -> InputField:
    datatype = datatype_of(field.datatype)
    is_optional = _may_be_missing(field.name, mining, document)
    return InputField(
        name=field.name,
        datatype=datatype,
        shape=(-1,),
        required=not is_optional,
        nullable=is_optional,
        measure=measure_of((mining and mining.optype) or field.optype),
        values=_values(field),
        intervals=_intervals(field),
        missing=_missing(mining, datatype),
        invalid=_invalid(mining, datatype),
        logical_type=field.datatype if field.datatype in _TEMPORAL or field.datatype not in _DATATYPES else None,
        description=field.description,
    )


def _values(field: DataField) -> tuple[Scalar, ...] | None:
    """The allowed values. Those that mean "missing" are allowed too, but last: a sample takes the first."""
    valid = field.valid_values()
    if not valid:
        return None
    return scalars(valid + [value for value, kind in field.values if kind == "missing"], field)


def _intervals(field: DataField) -> tuple[Interval, ...] | None:
    if not field.intervals:
        return None
    try:
        found = [_interval(written) for written in field.intervals]
        missing = [float(value) for value, kind in field.values if kind == "missing"]
    except ValueError as error:
        reason = f"line {field.line}: DataField '{field.name}' has an Interval that is not numeric ({error})"
        raise InvalidModel("pmml_invalid", reason, "Correct leftMargin and rightMargin.") from error
    return tuple(found + [Interval(value, value) for value in missing])


def _interval(written: dict[str, str]) -> Interval:
    left, right = written.get("leftMargin"), written.get("rightMargin")
    closure = written.get("closure", "closedClosed")
    return Interval(
        float(left) if left is not None else None,
        float(right) if right is not None else None,
        min_inclusive=closure.startswith("closed"),
        max_inclusive=closure.endswith("Closed"),
    )


def _missing(mining: MiningField | None, datatype: Datatype) -> Treatment | None:
    if mining is None or (mining.missing_treatment is None and mining.missing_replacement is None):
        return None
    return Treatment(mining.missing_treatment or "asValue", _replacement(mining.missing_replacement, datatype))


def _invalid(mining: MiningField | None, datatype: Datatype) -> Treatment:
    """PMML's default is to refuse: `returnInvalid`."""
    if mining is None:
        return Treatment("asMissing")
    return Treatment(mining.invalid_treatment or "returnInvalid", _replacement(mining.invalid_replacement, datatype))


def _replacement(text: str | None, datatype: Datatype) -> Scalar | None:
    if text is None:
        return None
    try:
        return scalar(text, datatype)
    except (ValueError, OverflowError):
        return text


def _may_be_missing(name: str, mining: MiningField | None, document: PmmlDocument) -> bool:
    if mining is not None:
        if mining.missing_treatment == "returnInvalid":
            return False
        if mining.missing_replacement is not None:
            return True
    if name in document.missing_aware:
        return True
    return document.model is not None and all(_tolerates(leaf) for leaf in document.model.leaves())


def _tolerates(model: ModelOutline) -> bool:
    if model.element == "TreeModel":
        return model.attributes.get("missingValueStrategy") in _TOLERANT_TREES or model.has_surrogates
    return model.element in _TOLERANT
