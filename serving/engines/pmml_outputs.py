"""What a PMML model answers: the task's own outputs first, whatever the file declares, then its other OutputFields.

Probabilities and distances, which PMML writes one field each, become one vector whose `labels` say what it counts.
"""

from collections.abc import Iterator

from serving.engines.pmml_document import DataField, DeclaredOutput, ModelOutline, PmmlDocument
from serving.engines.pmml_elements import AFFINITY_FEATURES, UNSUPPORTED_FEATURES
from serving.engines.pmml_inputs import datatype_of, measure_of, scalar, scalars, target_fields
from serving.engines.pmml_words import component_names, task_of
from serving.signature import Datatype, Measure, OutputField, Role, Scalar

# What an association model answers when it declares nothing: the best rule, by PMML's names of its parts.
RULE_PARTS: dict[str, Datatype] = {
    "consequent": "BYTES",
    "antecedent": "BYTES",
    "confidence": "FP64",
    "support": "FP64",
    "lift": "FP64",
}
_NUMERIC_FEATURES = (*AFFINITY_FEATURES, "confidence", "leverage", "lift", "probability", "standardError", "support")
_SEVERAL_TARGETS = frozenset({"NearestNeighborModel", "NeuralNetwork"})


def output_fields(document: PmmlDocument) -> tuple[OutputField, ...]:
    """All outputs, with unique names."""
    model = document.model
    outputs = list(_transformed(document)) if model is None else _Outputs(document, model).all()
    return tuple({output.name: output for output in reversed(outputs)}.values())[::-1]


def declaring_model(model: ModelOutline) -> ModelOutline:
    """The model whose Output element counts: a chain or selection without its own hands on that of its last segment."""
    if model.outputs or model.method not in ("modelChain", "selectFirst"):
        return model
    return model.answering()[0]


def _transformed(document: PmmlDocument) -> Iterator[OutputField]:
    """Of a file without a model: the derived fields that no other one uses."""
    for derived in document.derived:
        if derived.name not in document.derived_uses:
            role: Role = "component" if derived.optype == "continuous" else "field"
            yield OutputField(
                derived.name, datatype_of(derived.datatype), (-1,), role, measure=measure_of(derived.optype)
            )


class _Outputs:
    """The outputs of one model."""

    def __init__(self, document: PmmlDocument, model: ModelOutline) -> None:
        self._document = document
        self._model = model
        self._declared = [
            output
            for output in declaring_model(model).outputs
            if output.is_final and output.feature not in UNSUPPORTED_FEATURES
        ]
        self._task = task_of(document)
        self._taken: set[str] = set()  # declared fields that a task output stands for

    def all(self) -> list[OutputField]:
        if self._task in ("classification", "regression"):
            own = [output for target in self._targets() for output in self._supervised(target)]
        elif self._task == "clustering":
            own = list(self._clustered())
        elif self._task == "association" and not self._declared:
            own = [OutputField(name, datatype, (-1,), "rule") for name, datatype in RULE_PARTS.items()]
        elif self._task == "anomaly" and not any(self._role(output) == "score" for output in self._declared):
            own = [OutputField(self._free_name("score"), "FP64", (-1,), "score", measure="continuous")]
        else:
            own = []
        return own + [self._extra(output) for output in self._declared if output.name not in self._taken]

    def _targets(self) -> tuple[DataField | None, ...]:
        found = target_fields(self._document)
        if len(found) > 1 and self._model.element in _SEVERAL_TARGETS:
            return found
        return found[:1] or (None,)

    def _supervised(self, target: DataField | None) -> Iterator[OutputField]:
        mixed = self._model.function == "mixed" and target is not None
        if (target is not None and target.optype == "continuous") if mixed else self._task == "regression":
            yield self._value(target)
        else:
            yield from self._classified(target)

    def _classified(self, target: DataField | None) -> Iterator[OutputField]:
        datatype = datatype_of(target.datatype) if target else "BYTES"
        labels = self._labels(target, datatype)
        measure: Measure = "ordinal" if target and target.optype == "ordinal" else "categorical"
        name = self._name_of("predictedValue", target, "label")
        about = target.name if target else None
        yield OutputField(name, datatype, (-1,), "label", target=about, measure=measure, values=labels or None)
        if labels and _gives_probabilities(self._model):
            self._take("probability")
            several = len(self._targets()) > 1 and target is not None
            vector = self._free_name(f"probabilities_{target.name}" if several and target else "probabilities")
            yield OutputField(vector, "FP64", (-1, len(labels)), "probability", labels=labels, target=about)
        if self._model.element == "RuleSetModel":
            yield OutputField(self._name_of("confidence", None, "confidence"), "FP64", (-1,), "confidence")

    def _value(self, target: DataField | None) -> OutputField:
        name = self._name_of("predictedValue", target, "value")
        about = target.name if target else None
        return OutputField(name, "FP64", (-1,), "value", target=about, measure="continuous")

    def _clustered(self) -> Iterator[OutputField]:
        written = next((o.datatype for o in self._declared if o.feature in ("predictedValue", "clusterId")), None)
        datatype = datatype_of(written or "string")
        ids = [identifier for identifier, _ in self._model.clusters]
        try:
            labels: tuple[Scalar, ...] = tuple(scalar(identifier, datatype) for identifier in ids)
        except ValueError:
            datatype, labels = "BYTES", tuple(ids)
        name = self._name_of("predictedValue", None, self._name_of("clusterId", None, "cluster"))
        yield OutputField(name, datatype, (-1,), "cluster", measure="categorical", values=labels or None)
        if labels:
            for feature in AFFINITY_FEATURES:
                self._take(feature)
            is_distance = self._model.comparison != "similarity"
            vector = self._free_name("distances" if is_distance else "affinities")
            role: Role = "distance" if is_distance else "affinity"
            yield OutputField(vector, "FP64", (-1, len(labels)), role, labels=labels)

    def _extra(self, output: DeclaredOutput) -> OutputField:
        datatype = self._datatype(output)
        try:
            values = tuple(scalar(value, datatype) for value in output.values) or None
        except ValueError:
            values = None
        return OutputField(
            output.name,
            datatype,
            (-1,),
            self._role(output),
            target=output.target,
            measure=measure_of(output.optype),
            values=values,
            description=output.description,
        )

    def _role(self, output: DeclaredOutput) -> Role:
        datatype = self._datatype(output)
        if self._task == "anomaly":
            scores = [o.name for o in self._declared if self._datatype(o) in ("FP32", "FP64")]
            if datatype == "BOOL":
                return "anomaly"
            return "score" if output.name in scores[:1] else "field"
        if self._task == "dimension_reduction":
            return "component" if output.name in component_names(self._model) else "field"
        if self._task == "association":
            return "rule"
        return "confidence" if output.feature == "confidence" else "field"

    def _datatype(self, output: DeclaredOutput) -> Datatype:
        if output.datatype:
            return datatype_of(output.datatype)
        if output.feature == "predictedValue" and self._task in ("regression", "anomaly"):
            return "FP64"
        return "FP64" if output.optype == "continuous" or output.feature in _NUMERIC_FEATURES else "BYTES"

    def _labels(self, target: DataField | None, datatype: Datatype) -> tuple[Scalar, ...]:
        if target is not None and target.valid_values():
            return scalars(target.valid_values(), target)
        found = dict.fromkeys(self._model.targets.get(target.name if target else "", []))
        found |= {o.value: None for o in self._declared if o.feature == "probability" and o.value is not None}
        for model in (self._model, *self._model.leaves()):
            found |= model.categories
        try:
            return tuple(scalar(label, datatype) for label in found)
        except ValueError:
            return ()

    def _name_of(self, feature: str, target: DataField | None, default: str) -> str:
        """The name that the file gives to the feature; a model with several targets names each."""
        several = target is not None and len(self._targets()) > 1
        for output in self._declared:
            if output.feature == feature and (not several or (target and output.target == target.name)):
                self._taken.add(output.name)
                return output.name
        return self._free_name(f"{default}_{target.name}" if several and target else default)

    def _take(self, feature: str) -> None:
        """The declared fields of this feature, one per class or cluster, are in the vector."""
        self._taken.update(o.name for o in self._declared if o.feature == feature and o.value is not None)

    def _free_name(self, name: str) -> str:
        names = {output.name for output in self._declared}
        while name in names:
            name += "_"
        return name


def _gives_probabilities(model: ModelOutline) -> bool:
    """Whether PMML4S fills in a probability per class for this model."""
    if model.method in ("modelChain", "selectFirst"):
        return all(_gives_probabilities(answering) for answering in model.answering())
    if model.element == "MiningModel":
        votes = model.method in ("majorityVote", "weightedMajorityVote")
        return votes or all(_gives_probabilities(segment) for segment in model.segments)
    if model.element == "TreeModel":
        return model.has_distribution
    if model.element == "SupportVectorMachineModel":
        return model.attributes.get("classificationMethod") == "OneAgainstOne" or model.machines == 1
    return model.element not in ("NearestNeighborModel", "RuleSetModel")
