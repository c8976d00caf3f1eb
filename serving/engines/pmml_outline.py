"""Builds a `PmmlDocument` from the elements of a file as they pass by.

A handler per element that matters; thousands of others (Array, Con, SupportVector, …) cost one dictionary look-up.
"""

from typing import NoReturn
from xml.parsers.expat import XMLParserType

from serving.engines.base import InvalidModel
from serving.engines.pmml_document import (
    DataField,
    DeclaredOutput,
    DerivedField,
    MiningField,
    ModelOutline,
    PmmlDocument,
)
from serving.engines.pmml_elements import (
    FIELD_ATTRIBUTES,
    LABEL_ATTRIBUTES,
    MAX_LABELS,
    MISSING_OPERATORS,
    NUMBER_ATTRIBUTES,
    SKIPPED,
    SUPPORTED_MODELS,
    UNSUPPORTED_MODELS,
)


class OutlineBuilder:
    """Receives a document's elements in order, by local name."""

    def __init__(self, document: PmmlDocument, parser: XMLParserType) -> None:
        self._document = document
        self._parser = parser
        self._model: ModelOutline | None = None
        self._path: list[str] = []
        self._applies: list[dict[str, str]] = []
        self._skipping = 0
        self._unconditional_segment = False
        self._text: list[str] = []
        self._handlers = {
            "Apply": self._apply,
            "Application": self._application,
            "Cluster": self._cluster,
            "ComparisonMeasure": self._comparison,
            "CompoundPredicate": self._compound,
            "DataField": self._data_field,
            "DerivedField": self._derived_field,
            "FieldRef": self._field_ref,
            "Header": self._header,
            "Interval": self._interval,
            "MiningField": self._mining_field,
            "OutputField": self._output_field,
            "ParameterField": self._parameter,
            "Segment": self._segment,
            "Segmentation": self._segmentation,
            "SimplePredicate": self._predicate,
            "Target": self._target,
            "TargetValue": self._target_value,
            "True": self._true,
            "Value": self._value,
        }

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if self._skipping or name in SKIPPED:
            self._skipping += 1
            return
        if name in SUPPORTED_MODELS:
            self._open_model(name, attributes)
        elif name in UNSUPPORTED_MODELS:
            hint = "Export the model as one of: " + ", ".join(sorted(SUPPORTED_MODELS)) + "."
            self._refuse("pmml_model_unsupported", f"this runtime cannot run a {name}", hint)
        used = FIELD_ATTRIBUTES.get(name)
        if used is not None and attributes.get(used):
            self._use(attributes[used], attributes)
        numbers = NUMBER_ATTRIBUTES.get(name)
        if numbers is not None:
            self._check_numbers(name, numbers, attributes)
        labels = LABEL_ATTRIBUTES.get(name)
        if labels is not None:
            self._content(name, labels, attributes)
        handler = self._handlers.get(name)
        if handler is not None:
            handler(attributes)
        elif name in ("Timestamp", "Annotation"):
            self._text.clear()
            self._parser.CharacterDataHandler = self._text.append
        self._path.append(name)

    def end(self, name: str) -> None:
        if self._skipping:
            self._skipping -= 1
            return
        self._path.pop()
        if name in SUPPORTED_MODELS and self._model is not None:
            self._model = self._model.parent
        elif name == "Apply":
            self._applies.pop()
        elif name in ("Timestamp", "Annotation"):
            self._parser.CharacterDataHandler = None
            self._document.header.setdefault(name.lower(), "".join(self._text).strip()[:2_000])

    # models

    def _open_model(self, name: str, attributes: dict[str, str]) -> None:
        model = ModelOutline(name, attributes, self._parser.CurrentLineNumber, self._model)
        model.is_unconditional = self._unconditional_segment
        self._unconditional_segment = False
        if self._model is None:
            self._document.models.append(model)
        else:
            self._model.segments.append(model)
        self._model = model

    def _segmentation(self, attributes: dict[str, str]) -> None:
        if self._model is not None:
            self._model.method = attributes.get("multipleModelMethod", "")

    def _segment(self, _: dict[str, str]) -> None:
        self._unconditional_segment = False

    def _true(self, _: dict[str, str]) -> None:
        if self._parent() == "Segment":
            self._unconditional_segment = True

    def _content(self, name: str, labels: tuple[str, ...], attributes: dict[str, str]) -> None:
        model = self._model
        if model is None:
            return
        if name == "NormDiscrete" and "NeuralOutput" not in self._path:
            return
        if name == "ScoreDistribution":
            model.has_distribution = True
        elif name == "SupportVectorMachine":
            model.machines += 1
        if model.function == "classification" and len(model.categories) < MAX_LABELS:
            for label in labels:
                if label in attributes:
                    model.categories.setdefault(attributes[label])

    def _cluster(self, attributes: dict[str, str]) -> None:
        if self._model is not None:
            position = str(len(self._model.clusters) + 1)
            self._model.clusters.append((attributes.get("id", position), attributes.get("name")))

    def _comparison(self, attributes: dict[str, str]) -> None:
        if self._model is not None:
            self._model.comparison = attributes.get("kind")

    # fields

    def _data_field(self, attributes: dict[str, str]) -> None:
        name = self._required(attributes, "name", "DataField")
        line = self._parser.CurrentLineNumber
        known = self._document.fields.get(name)
        if known is not None:
            hint = "Remove or rename one of them."
            reason = f"DataField '{name}' is declared twice (first on line {known.line})"
            self._refuse("pmml_duplicate_field", reason, hint)
        optype = self._required(attributes, "optype", f"DataField '{name}'")
        datatype = attributes.get("dataType") or ("double" if optype == "continuous" else "string")
        self._document.names.add(name)
        self._document.fields[name] = DataField(name, optype, datatype, line, attributes.get("displayName"))

    def _value(self, attributes: dict[str, str]) -> None:
        value = attributes.get("value")
        if value is None:
            return
        if self._parent() == "DataField":
            newest = next(reversed(self._document.fields.values()))
            newest.values.append((value, attributes.get("property", "valid")))
        elif self._parent() == "OutputField" and self._model is not None:
            self._model.outputs[-1].values.append(value)

    def _interval(self, attributes: dict[str, str]) -> None:
        if self._parent() == "DataField":
            next(reversed(self._document.fields.values())).intervals.append(attributes)

    def _derived_field(self, attributes: dict[str, str]) -> None:
        name = attributes.get("name")
        if not name:
            return
        self._document.names.add(name)
        if self._parent() == "TransformationDictionary":
            optype, datatype = attributes.get("optype", "continuous"), attributes.get("dataType", "double")
            self._document.derived.append(DerivedField(name, optype, datatype))

    def _parameter(self, attributes: dict[str, str]) -> None:
        self._document.names.add(attributes.get("name", ""))

    def _mining_field(self, attributes: dict[str, str]) -> None:
        model = self._model
        if model is None or model.parent is not None:
            return
        name = self._required(attributes, "name", "MiningField")
        if any(field.name == name for field in model.mining_fields):
            self._refuse("pmml_duplicate_field", f"MiningField '{name}' is listed twice", "Remove one of them.")
        model.mining_fields.append(
            MiningField(
                name,
                self._parser.CurrentLineNumber,
                attributes.get("usageType", "active"),
                attributes.get("optype"),
                attributes.get("missingValueTreatment"),
                attributes.get("missingValueReplacement"),
                attributes.get("invalidValueTreatment"),
                attributes.get("invalidValueReplacement"),
            )
        )

    def _output_field(self, attributes: dict[str, str]) -> None:
        name = self._required(attributes, "name", "OutputField")
        self._document.names.add(name)
        if self._model is not None:
            self._model.outputs.append(
                DeclaredOutput(
                    name,
                    attributes.get("feature", "predictedValue"),
                    attributes.get("dataType"),
                    attributes.get("optype"),
                    attributes.get("value"),
                    attributes.get("targetField"),
                    attributes.get("isFinalResult", "true") != "false",
                    attributes.get("segmentId"),
                    attributes.get("displayName"),
                )
            )

    def _target(self, attributes: dict[str, str]) -> None:
        if self._model is not None:
            self._model.targets.setdefault(attributes.get("field", ""), [])

    def _target_value(self, attributes: dict[str, str]) -> None:
        if self._model is not None and self._model.targets and "value" in attributes:
            next(reversed(self._model.targets.values())).append(attributes["value"])

    # what is done about missing values

    def _use(self, name: str, attributes: dict[str, str]) -> None:
        self._document.used.setdefault(name, self._parser.CurrentLineNumber)
        if "mapMissingTo" in attributes:
            self._document.missing_aware.add(name)
        if "TransformationDictionary" in self._path[1:2]:
            self._document.derived_uses.add(name)

    def _apply(self, attributes: dict[str, str]) -> None:
        self._applies.append(attributes)

    def _field_ref(self, attributes: dict[str, str]) -> None:
        if self._parent() == "Apply":
            function = self._applies[-1]
            if function.get("function") in MISSING_OPERATORS or "mapMissingTo" in function:
                self._document.missing_aware.add(attributes.get("field", ""))

    def _predicate(self, attributes: dict[str, str]) -> None:
        if attributes.get("operator") in MISSING_OPERATORS:
            self._document.missing_aware.add(attributes.get("field", ""))

    def _compound(self, attributes: dict[str, str]) -> None:
        if self._model is not None and attributes.get("booleanOperator") == "surrogate":
            self._model.has_surrogates = True

    def _check_numbers(self, name: str, numbers: tuple[str, ...], attributes: dict[str, str]) -> None:
        for each in numbers:
            if (given := attributes.get(each)) is not None:
                try:
                    float(given)
                except ValueError:
                    reason = f"the {each} of <{name}> is '{given[:60]}', which is no number"
                    self._refuse("pmml_invalid", reason, "Correct it, or export the model again.")

    # the header

    def _header(self, attributes: dict[str, str]) -> None:
        self._document.header.setdefault("header", "")
        for name in ("description", "copyright", "modelVersion"):
            if attributes.get(name):
                self._document.header[name] = attributes[name][:2_000]

    def _application(self, attributes: dict[str, str]) -> None:
        self._document.header["application"] = self._required(attributes, "name", "Application")
        if attributes.get("version"):
            self._document.header["application_version"] = attributes["version"]

    def _parent(self) -> str:
        return self._path[-1] if self._path else ""

    def _required(self, attributes: dict[str, str], attribute: str, where: str) -> str:
        value = attributes.get(attribute)
        if not value:
            self._refuse("pmml_invalid", f"{where} has no {attribute}", f"Give it a {attribute}.")
        return value

    def _refuse(self, code: str, reason: str, hint: str = "") -> NoReturn:
        raise InvalidModel(code, f"line {self._parser.CurrentLineNumber}: {reason}", hint)
