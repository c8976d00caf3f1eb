"""From a PMML document to a signature, and the checks that need the whole document."""

import re
from importlib import metadata

from serving.engines.base import InvalidModel
from serving.engines.pmml_document import ModelOutline, PmmlDocument
from serving.engines.pmml_elements import DATATYPE_PATTERN, METHODS, OPTYPES, UNSUPPORTED_FEATURES
from serving.engines.pmml_inputs import input_fields, targets
from serving.engines.pmml_outputs import declaring_model, output_fields
from serving.engines.pmml_words import algorithm_of, task_of
from serving.signature import Producer, Signature

ENGINE = "pypmml"
PLATFORM = "pmml_pmmlv4"
_HEADER_FACTS = ("description", "copyright", "modelVersion", "timestamp", "annotation")


def signature_of(document: PmmlDocument) -> Signature:
    """The model's signature. Raises `InvalidModel` for a document that declares what it cannot be."""
    _check_parts(document)
    _check_fields(document)
    if document.model is not None:
        _check_model(document.model)
    inputs = input_fields(document)
    outputs = output_fields(document)
    if not inputs:
        raise InvalidModel("pmml_invalid", "the model takes no input: its MiningSchema has no active field")
    if not outputs:
        raise InvalidModel("pmml_invalid", "the model answers nothing: no target and no OutputField")
    return Signature(
        format="pmml",
        format_version={"pmml_version": document.version},
        engine=ENGINE,
        engine_version=metadata.version("pypmml"),
        platform=PLATFORM,
        algorithm=algorithm_of(document),
        task=task_of(document),
        batch="stack",
        inputs=inputs,
        outputs=outputs,
        targets=targets(document),
        producer=_producer(document),
        function=document.model.function if document.model else None,
        metadata=_metadata(document),
    )


def _check_parts(document: PmmlDocument) -> None:
    if "header" not in document.header:
        raise InvalidModel("pmml_invalid", "the file has no Header, which PMML requires", "Add a <Header> element.")
    if not document.fields:
        hint = "Declare the model's inputs and target as DataFields."
        raise InvalidModel("pmml_invalid", "the DataDictionary declares no DataField", hint)
    if not document.models and not document.derived:
        hint = "A PMML file needs a model element, for example TreeModel or RegressionModel."
        raise InvalidModel("pmml_no_model", "the file holds no model", hint)


def _check_fields(document: PmmlDocument) -> None:
    for field in document.fields.values():
        if not re.fullmatch(DATATYPE_PATTERN, field.datatype):
            reason = f"line {field.line}: DataField '{field.name}' has the unknown dataType '{field.datatype}'"
            raise InvalidModel("pmml_invalid", reason, "Use string, integer, float, double, boolean, date or dateTime.")
        if field.optype not in OPTYPES:
            reason = f"line {field.line}: DataField '{field.name}' has the unknown optype '{field.optype[:60]}'"
            raise InvalidModel("pmml_invalid", reason, f"Use {', '.join(OPTYPES[:2])} or {OPTYPES[2]}.")
    undeclared = {name: line for name, line in document.used.items() if name not in document.names}
    if document.model is not None:
        # The first model stands directly below the DataDictionary: a DerivedField is no input.
        undeclared |= {f.name: f.line for f in document.model.mining_fields if f.name not in document.fields}
    if undeclared:
        name = min(undeclared, key=lambda used: undeclared[used])
        reason = f"line {undeclared[name]}: DataField '{name}' is used but not declared"
        raise InvalidModel("pmml_undeclared_field", reason, f"Add a DataField '{name}' to the DataDictionary.")


def _check_model(model: ModelOutline) -> None:
    where = f"line {model.line}: this {model.element}"
    if not model.function:
        raise InvalidModel("pmml_invalid", f"{where} has no functionName", 'Say for example functionName="regression".')
    if model.attributes.get("isScorable") == "false":
        hint = "Export a model that can be scored."
        raise InvalidModel("pmml_invalid", f"{where} says that it is not scorable", hint)
    if model.element == "MiningModel" and not model.segments:
        hint = "Use a Segmentation: model composition is deprecated since PMML 4.2."
        raise InvalidModel("pmml_model_unsupported", f"{where} has no Segmentation", hint)
    if model.method is not None and model.method not in METHODS:
        hint = "Use one of: " + ", ".join(sorted(METHODS)) + "."
        raise InvalidModel("pmml_model_unsupported", f"{where} combines its segments by '{model.method}'", hint)
    if model.attributes.get("modelClass") == "distributionBased":
        hint = "Only center-based clustering can be run."
        raise InvalidModel("pmml_model_unsupported", f"{where} is distribution-based", hint)
    for segment in model.segments:
        _check_model(segment)


def _producer(document: PmmlDocument) -> Producer | None:
    name = document.header.get("application")
    return Producer(name, document.header.get("application_version")) if name else None


def _metadata(document: PmmlDocument) -> dict[str, str]:
    found = {name: document.header[name] for name in _HEADER_FACTS if document.header.get(name)}
    model = document.model
    if model is not None:
        found |= {name: model.attributes[name] for name in ("modelName", "algorithmName") if model.attributes.get(name)}
        left_out = [o.name for o in declaring_model(model).outputs if o.feature in UNSUPPORTED_FEATURES]
        if left_out:
            found["outputs_left_out"] = ", ".join(left_out) + ": this runtime does not compute them"
    if len(document.models) > 1:
        found["models"] = f"the file holds {len(document.models)} models; the first is served"
    return found
