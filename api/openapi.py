"""The app class: its OpenAPI 3.1 description tells errors as we send them (problem+json), not as FastAPI would."""

import asyncio
import copy
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from pydantic import Field
from starlette.responses import JSONResponse

from api.errors import PROBLEM
from api.gateway.description import GATEWAY_PATHS
from api.headers import LONGEST_KEY
from api.openapi_links import tell_links
from api.routing import OpenRoute
from api.schemas.base import Answer
from api.schemas.dataset_sources import DatasetFromSource
from api.schemas.models import ModelCreate, ModelFromSource
from api.schemas.predictions import ImmediateInput, PredictionAnswer, PredictionCreate, PredictionInput
from api.schemas.versions import SourceFields

ERROR = "#/components/schemas/Problem"
TAGS = (
    ("models", "Models: the names under which versions are kept."),
    ("versions", "Versions: one immutable upload each, described and tried before it is ready."),
    ("services", "Services: versions that answer predictions."),
    ("predictions", "Predictions: submitted inferences with an id. Immediate ones go to the service itself."),
    ("datasets", "Datasets: named data that a run reads or writes."),
    ("uploads", "Uploads in parts, of which datasets are made."),
    ("jobs", "Jobs: what is run over data, by hand or after another job."),
    ("runs", "Runs: executions of jobs, which can be paused, resumed and stopped."),
    ("operations", "Operations: every change that takes time, from wish to effect."),
    ("webhooks", "Webhooks: signed deliveries of events (Standard Webhooks 1.0.0)."),
    ("events", "Events: what happened."),
    ("users", "Who asks, and tokens."),
    ("system", "This installation."),
    ("health", "For probes and Prometheus."),
)


KEY = {"type": "string", "maxLength": LONGEST_KEY, "pattern": r"\S"}
STEERING = (
    ("Idempotency-Key", KEY, "The same key and body give the same answer, with `Idempotent-Replayed: true`."),
    (
        "Prefer",
        {"type": "string"},
        "`wait=N` holds the answer for up to N seconds (at most 60) until the operation is done.",
    ),
)
CONDITION = (
    "If-Match",
    {"type": "string"},
    "The `etag` that the change is meant for, or several, or `*`; 412 when the resource is another by now.",
)
DEADLINE = (
    "Cancel-After",
    {"type": "string", "pattern": r"^(\d{1,3}[hH])?(\d{1,5}[mM])?(\d{1,6}[sS]?)?$"},
    "How long the prediction may take, such as `30s`, `5m` or `1h30m`, at most 24h; then it is canceled.",
)
# What these change has no `etag` to hold against If-Match (422 where a request has one all the same).
WITHOUT_ETAG = frozenset(
    {
        *("create_model", "upload_version", "create_service", "create_file", "create_webhook", "create_token"),
        *("create_prediction", "create_prediction_by_version", "create_deployment_prediction", "put_prediction"),
        *("cancel_prediction", "cancel_prediction_by_verb", "cancel_operation", "retry_operation", "revoke_token"),
        *("cancel_operations", "retry_operations", "cancel_predictions", "pause_services", "resume_services"),
        *("create_dataset", "put_dataset_file", "delete_dataset_file"),
        *("create_upload", "put_upload_part", "delete_upload"),
        *("switch_off", "switch_on", "create_job", "render_script"),
    }
)


class FieldFault(Answer):
    """What is wrong with one field."""

    pointer: str = Field(description="RFC 6901 JSON pointer into the request's body, or / and a parameter's name.")
    detail: str
    hint: str | None = None


class Problem(Answer):
    """RFC 9457 problem details: the shape of every error."""

    type: str
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable, snake_case.")
    instance: str
    request_id: str
    errors: list[FieldFault] | None = None


class PlatformApp(FastAPI):
    """FastAPI with our description of errors."""

    def setup(self) -> None:
        """Serve the description, which a thread makes: it would hold the event loop for half a second."""

        async def show(request: Request) -> Response:
            return JSONResponse(await asyncio.to_thread(self.openapi))

        if self.openapi_url:
            self.add_route(self.openapi_url, show, include_in_schema=False)

    def openapi(self) -> dict[str, object]:
        """The description, made once."""
        if self.openapi_schema is None:
            for route in self.routes:
                if isinstance(route, OpenRoute):
                    route.complete()
            found = super().openapi()
            _tell_shapes(found)
            _tell_errors(found)
            for path, operation in GATEWAY_PATHS.items():
                found["paths"][path] = {"post": _with_problems(copy.deepcopy(operation))}
            tell_links(found)
            _tell_whole_limits(found)
            found["tags"] = [{"name": name, "description": text} for name, text in TAGS]
            found["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
            found["security"] = [{"bearer": []}, {}]
            self.openapi_schema = found
        return self.openapi_schema


OPERATION_SHOWN = {"application/json": {"schema": {"$ref": "#/components/schemas/OperationShown"}}}
UNSHOWN = "Done, and what it made cannot be shown: it was deleted since (a replay), or the database is busy just now."
LIMITS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
# They answer with what they made or found, or not at all.
WITHOUT_OPERATION = ("PredictionShown", "BatchShown", "KeptShown")


# What no route declares as its body or answer: errors, a body that may be a form as well, what the gateway answers.
UNSEEN = (
    Problem,
    ModelCreate,
    ModelFromSource,
    SourceFields,
    DatasetFromSource,
    ImmediateInput,
    PredictionInput,
    PredictionCreate,
    PredictionAnswer,
)


def _tell_shapes(description: dict[str, Any]) -> None:
    schemas = description.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for model in UNSEEN:
        shape = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= shape.pop("$defs", {})
        schemas[model.__name__] = shape


def _tell_errors(description: dict[str, Any]) -> None:
    for path in description["paths"].values():
        for method, operation in path.items():
            operation["responses"].pop("422", None)
            for response in operation["responses"].values():
                _tell_media_types(response)
            _with_problems(operation)
            if method != "get":
                _tell_operation(operation)
                operation.setdefault("parameters", []).extend(_header(*header) for header in _headers(operation))


def _headers(operation: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, object], str]]:
    """The headers that the call of a change honours."""
    if operation["operationId"] == "create_report":
        return  # one measurement more: nothing of it is waited for, held against an etag, or remembered by a key
    yield from STEERING
    if operation["operationId"] not in WITHOUT_ETAG:
        yield CONDITION
    if "PredictionShown" in str(operation["responses"].get("202")):
        yield DEADLINE


def _tell_operation(operation: dict[str, Any]) -> None:
    """A change that ends while the answer is held shows its operation, where there is nothing else to show."""
    responses: dict[str, Any] = operation["responses"]
    if any(name in str(responses) for name in WITHOUT_OPERATION):
        return
    if not {"200", "201", "204"} & responses.keys():
        responses["200"] = {"description": "Done.", "content": OPERATION_SHOWN}
    if "OperationShown" not in str(responses.get("200")):
        responses.setdefault("202", {"description": UNSHOWN, "content": OPERATION_SHOWN})


def _tell_media_types(response: dict[str, Any]) -> None:
    """Where a route says what it answers with, the JSON that FastAPI adds to it is no answer."""
    content = response.get("content", {})
    if len(content) > 1 and content.get("application/json") == {"schema": {}}:
        del content["application/json"]


def _tell_whole_limits(part: object) -> None:
    """FastAPI makes numbers with a fraction of all limits: 64.0 replicas."""
    if isinstance(part, list):
        for member in part:
            _tell_whole_limits(member)
    elif isinstance(part, dict):
        for name, value in part.items():
            if name in LIMITS and isinstance(value, float) and value.is_integer():
                part[name] = int(value)
            else:
                _tell_whole_limits(value)


def _with_problems(operation: dict[str, Any]) -> dict[str, Any]:
    """The same operation, its errors told."""
    content = {PROBLEM: {"schema": {"$ref": ERROR}}}
    operation["responses"]["default"] = {"description": "Problem details (RFC 9457)", "content": content}
    return operation


def _header(name: str, schema: Mapping[str, object], text: str) -> dict[str, object]:
    return {"name": name, "in": "header", "required": False, "description": text, "schema": schema}
