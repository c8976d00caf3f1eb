"""Which Java output fields compute which of the signature's outputs.

PMML4S computes whatever output fields it is given. So the task's own are added, in front, to those of every sub-model
that may answer; the fields that the file declares follow, because they may refer to one another.
"""

import jpype
from jpype import JObject

from serving.engines.base import InvalidModel
from serving.engines.pmml_elements import UNSUPPORTED_FEATURES
from serving.engines.pmml_java import Java, as_text, same_label
from serving.engines.pmml_table import Table
from serving.signature import OutputField, Scalar, Signature

_REFERRING = ("transformedValue", "decision", "warning")
_PREDICTED = ("label", "value", "cluster", "score")


class OutputPlan:
    """Answers one record: `slices` says where in its answer each output of the signature lies."""

    def __init__(self, java: Java, model: JObject, signature: Signature) -> None:
        self._java = java
        self._outputs = signature.outputs
        self._several_targets = (
            len({o.target for o in signature.outputs if o.role in ("label", "value") and o.target}) > 1
        )
        self._transforms = str(model.modelElement()) == "TransformationModel"
        self._predict = model.predict
        self.slices: list[tuple[int, int]] = []
        # How a table is answered in Java, where PMML4S answers it by itself.
        self.table: Table | None = None
        if self._transforms:
            self._names = [output.name for output in signature.outputs]
            self.slices = [(index, index + 1) for index in range(len(self._names))]
            self._schema = model.usedSchema()
            self._dictionary = model.transformationDictionary().get()
            return
        answering = _answering(model)
        declared = _declared(java, answering[0])
        own = self._own_fields(declared, answering[0])
        for target in {*answering, *_wrapping(model)}:
            fields = [*own, *(field for name, field in _declared(java, target).items() if name in self._kept)]
            target.setOutputFields(jpype.JArray(java.output_field)(fields))
        self.table = Table(java, model)

    def values_of(self, series: JObject) -> list[JObject]:
        """One record's values, one for every position of `slices`."""
        if self._transforms:
            return self._transformed(series)
        answer = self._predict(series)
        try:
            return list(answer.asArray())
        except jpype.JException:  # Series.asArray trips over a null
            values = [answer.get(index) for index in range(answer.length())]
            return [None if value is None else value.toVal() for value in values]

    def _transformed(self, series: JObject) -> list[JObject]:
        # TransformationModel.predict fails in a cast; its dictionary does the work.
        with_names = jpype.JClass("org.pmml4s.data.GenericSeriesWithSchema")(series.toArray(), self._schema)
        answer = self._dictionary.transform(with_names)
        values = [answer.get(name) for name in self._names]
        return [None if value is None else value.toVal() for value in values]

    def _own_fields(self, declared: dict[str, JObject], model: JObject) -> list[JObject]:
        own: list[JObject] = []
        late: list[tuple[int, str]] = []
        for position, output in enumerate(self._outputs):
            made = self._make(output, declared, model)
            if made is None:
                late.append((position, output.name))
                self.slices.append((0, 0))
            else:
                self.slices.append((len(own), len(own) + len(made)))
                own.extend(made)
        # What the task's own outputs stand for is computed twice only where another field may refer to it.
        refers = any(str(field.feature()) in _REFERRING for field in declared.values())
        wanted = {name for _, name in late}
        self._kept = [name for name in declared if refers or name in wanted]
        for position, name in late:
            if name not in self._kept:
                reason = f"the model has no output field '{name}'"
                raise InvalidModel("pmml_refused_by_runtime", reason, "Inspect the file again.")
            index = len(own) + self._kept.index(name)
            self.slices[position] = (index, index + 1)
        return own

    def _make(self, output: OutputField, declared: dict[str, JObject], model: JObject) -> list[JObject] | None:
        """The Java fields that compute the output, or None where the file declares the one that does."""
        feature = self._java.result_feature
        field = declared.get(output.name)
        predicts = field is None or str(field.feature()) in ("predictedValue", "clusterId", "entityId")
        if output.role in _PREDICTED and predicts:
            return [self._field(output, feature.predictedValue(), None)]
        if output.role == "probability" and output.labels:
            values = [_label_value(self._java, model, label) for label in output.labels]
            return [self._field(output, feature.probability(), value) for value in values]
        if output.role in ("distance", "affinity") and output.labels:
            ids = [self._java.data_val.from_(as_text(label)) for label in output.labels]
            return [self._field(output, feature.affinity(), value) for value in ids]
        if field is not None:
            return None
        if output.role in ("confidence", "rule"):
            return [self._field(output, feature.withName(output.name), None)]
        return None

    def _field(self, output: OutputField, feature: JObject, value: JObject) -> JObject:
        java = self._java
        some_target = java.option.apply(output.target) if self._several_targets and output.target else java.none
        made = java.output_field
        defaults = [getattr(made, "$lessinit$greater$default$" + str(index))() for index in range(8, 18)]
        # An unresolved datatype hands the value over as it is: a missing one stays missing.
        return made(
            "\0" + output.name,
            java.none,
            java.unresolved,
            java.op_type.TYPELESS(),
            feature,
            some_target,
            java.option.apply(value),
            *defaults,
        )


def _declared(java: Java, model: JObject) -> dict[str, JObject]:
    """The output fields of the file that PMML4S can compute, by name."""
    output = model.output()
    if not output.isDefined():
        return {}
    fields = output.get().outputFields()
    return {str(field.name()): field for field in fields if str(field.feature()) not in UNSUPPORTED_FEATURES}


def _segments(model: JObject) -> list[JObject]:
    return list(model.segmentation().get().segments())


def _method(model: JObject) -> str:
    if str(model.modelElement()) != "MiningModel":
        return ""
    return str(model.segmentation().get().multipleModelMethod())


def _answering(model: JObject) -> list[JObject]:
    """The models whose result is the answer: PMML4S ignores the Output of a selection, and computes that of a chain."""
    method = _method(model)
    if method == "selectFirst":
        return [answering for segment in _segments(model) for answering in _answering(segment.model())]
    if method == "modelChain" and not model.output().isDefined():
        return [answering for segment in _last(model) for answering in _answering(segment.model())]
    return [model]


def _wrapping(model: JObject) -> list[JObject]:
    """Below a chain that has its own Output: the models it takes the label and probabilities from."""
    if _method(model) == "modelChain" and model.output().isDefined():
        inner = [segment.model() for segment in _last(model)]
        return [found for sub in inner for found in (*_answering(sub), *_wrapping(sub))]
    return []


def _last(model: JObject) -> list[JObject]:
    """The segments of a chain that may be its last one to apply."""
    found = []
    for segment in reversed(_segments(model)):
        found.append(segment)
        if segment.isTrue():
            break
    return found


def _label_value(java: Java, model: JObject, label: Scalar) -> JObject:
    """The class label as PMML4S keeps it: the key of its probabilities."""
    for value in model.classes():
        if same_label(label, value.toVal()):
            return value
    target = model.targetField()
    if target is not None:
        return target.toVal(as_text(label))
    return java.data_val.from_(as_text(label))
