"""Versions: the fields of an upload, what a patch may say, and the overview that a row is shown as."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from api.links import Links
from api.routing import read_json
from api.schemas.base import URL, Answer, Body, Description, DisplayName, Instant, Name, Tags, at_most, shown_as, told
from api.schemas.parts import PartSummary, part_summaries
from api.schemas.resource import about
from api.schemas.signature import AlgorithmShown, InputShown, OutputShown, ProducerShown, TargetVariableShown
from api.validation import rejection
from core.errors import Json, MalformedBody
from state.features import effective_features, named_sample
from state.tables import Version

LARGEST_METRICS_BYTES = 256 * 1024
MOST_PLACES = 10_000
SIGNATURE_PARTS = (
    "format_version", "engine", "engine_version", "platform", "algorithm", "function", "batch",
    "inputs", "outputs", "targets", "features", "producer", "metadata", "sample", "sample_output",
)  # fmt: skip


def check_metrics(metrics: dict[str, object]) -> dict[str, object]:
    """Any JSON object that can be stored and shown again: finite numbers, at most 256 KiB."""
    try:
        size = len(json.dumps(metrics, allow_nan=False))
    except ValueError as error:
        raise PydanticCustomError("finite", "a number is too large for JSON that others can read") from error
    if size > LARGEST_METRICS_BYTES:
        raise PydanticCustomError("metrics", "metrics have at most 256 KiB; this is a place for figures, not for data")
    return metrics


def read_object(given: object) -> object:
    """A form field's JSON text."""
    if not isinstance(given, str):
        return given
    try:
        return read_json(given.encode())
    except MalformedBody as error:
        raise PydanticCustomError(
            "json", "{problem}", {"problem": error.message.replace("the body", "the field")}
        ) from error


def read_tags(given: object) -> object:
    """A form field's tags: a JSON list, or names with commas between them."""
    if not isinstance(given, str):
        return given
    if given.lstrip().startswith("["):
        return read_object(given)
    return [tag.strip() for tag in given.split(",") if tag.strip()]


def _refuse_second(given: object) -> None:
    raise PydanticCustomError(
        "either", "a version has either a file, in a form or as the body, or a source_uri, in a JSON body; send one"
    )


def _read_type(given: object) -> object:
    return given.lower() if isinstance(given, str) else given


def check_features(features: dict[str, list[str]]) -> dict[str, list[str]]:
    """Names for the places of vectors, as far as they can be judged without the model: some, short, none twice."""
    for places in features.values():
        if not 1 <= len(places) <= MOST_PLACES or any(not 1 <= len(place) <= 200 for place in places):
            sentence = f"write 1 to {MOST_PLACES} names for an input, each of 1 to 200 characters"
            raise PydanticCustomError("features", "{sentence}", {"sentence": sentence})
    names = [place for places in features.values() for place in places]
    if len(set(names)) < len(names):
        raise PydanticCustomError("features", "a name may stand for one place only; give each its own")
    return features


Task = Literal["classification", "regression", "clustering", "dimension_reduction", "anomaly", "association", "tensor"]
Metrics = Annotated[dict[str, Any], AfterValidator(check_metrics)]
Places = Annotated[
    list[Annotated[str, told(minLength=1, maxLength=200)]],
    at_most(MOST_PLACES, f"at most {MOST_PLACES} names for an input"),
    told(minItems=1, maxItems=MOST_PLACES, uniqueItems=True),
]
Features = Annotated[
    dict[str, Places],
    at_most(100, "at most 100 inputs"),
    AfterValidator(check_features),
    Field(description="By input: names for the places of a vector, which records, tables and forms may use."),
]
Type = Annotated[Literal["onnx", "pmml", "parts", "auto"], BeforeValidator(_read_type)]
SourceUri = Annotated[
    str,
    Field(min_length=1, max_length=2000, description="`https://…` or `http://…`, where the file is fetched from."),
    told(pattern=URL),
]
# A default is never validated, see `api.schemas.later`.
Elsewhere = SkipJsonSchema[Annotated[None, BeforeValidator(_refuse_second)]]


class UploadFields(Body):
    """The text parts of an upload. `task` overrides what the inspection finds; `type` must be what the file is."""

    name: Name | None = None
    display_name: DisplayName | None = None
    description: Description | None = None
    tags: Annotated[Tags | None, BeforeValidator(read_tags)] = None
    task: Task | None = None
    type: Type | None = None
    metrics: Annotated[Metrics | None, BeforeValidator(read_object)] = None
    features: Annotated[Features | None, BeforeValidator(read_object)] = None
    source_uri: Elsewhere = None


class SourceFields(Body):
    """A version whose file is fetched from a URL. `type` must be what the file turns out to be."""

    model_config = shown_as(
        {
            "source_uri": "https://models.example.com/iris.onnx",
            "features": {"float_input": ["sepal_length", "sepal_width", "petal_length", "petal_width"]},
        }
    )

    source_uri: SourceUri
    name: Name | None = None
    display_name: DisplayName | None = None
    description: Description | None = None
    tags: Tags | None = None
    task: Task | None = None
    type: Type | None = None
    metrics: Metrics | None = None
    features: Features | None = None
    file: Elsewhere = None


class VersionPatch(Body):
    """A merge patch (RFC 7396); null removes. `metrics` is merged key by key, `features` replaced as a whole.

    Services take new `features` when they are next deployed, updated or restarted.
    """

    model_config = shown_as({"description": "With the data of May", "metrics": {"accuracy": 0.94, "f1": None}})

    display_name: DisplayName | None = None
    description: Description | None = None
    tags: Tags | None = None
    task: Task | None = None
    metrics: Metrics | None = None
    features: Features | None = None


class TrialShown(Answer):
    """What a test of a version answered; the times are those of the prediction alone, without loading."""

    outputs: Any
    stdout: str
    stderr: str
    duration_ms: float


class VersionShown(Answer):
    """The overview of a version; what the inspection finds is null until it is ready, and so is what is told of the
    file while it is being fetched from its `source_uri`."""

    id: str
    model: str
    version: str
    number: int
    display_name: str | None
    description: str | None
    tags: list[str]
    aliases: list[str]
    status: Literal["received", "inspecting", "ready", "invalid", "deleting"]
    reason: str | None
    message: str | None
    since: Instant
    generation: int
    etag: str
    created_at: Instant
    updated_at: Instant
    url: str
    artifact: str
    source_uri: str | None
    digest: str | None
    size_bytes: int | None
    filename: str | None
    format: str | None = Field(description="`onnx`, `pmml`, or `parts` of an archive with several models.")
    task: str | None
    metrics: dict[str, Any] | None
    format_version: dict[str, Any] | None
    opset: int | None
    pmml_version: str | None
    engine: str | None
    engine_version: str | None
    platform: str | None
    algorithm: AlgorithmShown | None
    function: str | None
    batch: str | None
    inputs: list[InputShown] | None
    outputs: list[OutputShown] | None
    targets: list[TargetVariableShown] | None
    features: dict[str, list[str]] | None
    producer: ProducerShown | None
    metadata: dict[str, str] | None
    sample: dict[str, Any] | None
    sample_output: dict[str, Any] | None
    parts: list[PartSummary] | None = Field(
        description="The models of an archive, each at length at its `url`; what else is told is of the default one."
    )


class VersionPage(Answer):
    """One page of versions."""

    items: list[VersionShown]
    next_page_token: str | None
    total: int | None = None


FORM_FIELDS = frozenset(UploadFields.model_fields)


def read_upload_fields(given: Mapping[str, str]) -> UploadFields:
    """A form's text parts, an empty one counted as absent. Raises `UnknownField`, `InvalidField`."""
    try:
        return UploadFields.model_validate({name: text for name, text in given.items() if text != ""})
    except ValidationError as error:
        raise rejection(error.errors(include_url=False), UploadFields) from error


def merged_metrics(old: Mapping[str, object] | None, patch: Mapping[str, object] | None) -> dict[str, object] | None:
    """RFC 7396 for one level: null removes a figure, null for all removes them all."""
    if patch is None:
        return None
    return {name: value for name, value in {**(old or {}), **patch}.items() if value is not None}


def version_document(row: Version, model: str, aliases: list[str], links: Links) -> dict[str, Json]:
    """The version's overview, flattened from its signature."""
    signature: Mapping[str, Any] = row.signature or {}
    url = links.to(f"/api/v1/models/{model}/versions/{row.number}")
    format_version: Mapping[str, Any] = signature.get("format_version") or {}
    return {
        "id": row.id,
        "model": model,
        "version": str(row.number),
        "number": row.number,
        **about(row),
        "aliases": aliases,
        "url": url,
        "artifact": f"{url}/artifact",
        "source_uri": row.source_uri,
        "digest": row.digest or None,
        "size_bytes": row.size_bytes if row.digest else None,
        "filename": row.filename,
        "format": row.format or None,
        "task": row.task,
        "metrics": row.metrics,
        "opset": (format_version.get("opsets") or {}).get("ai.onnx"),
        "pmml_version": format_version.get("pmml_version"),
        **{name: signature.get(name) for name in SIGNATURE_PARTS},
        "features": effective_features(signature, row.features),
        "sample": named_sample(signature, row.features),
        "parts": part_summaries(row, model, links),
    }
