"""The app class: its OpenAPI 3.1 description tells errors as we send them (problem+json), not as FastAPI would."""

import asyncio
import copy
from typing import Any

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from api.errors import PROBLEM
from api.gateway.description import GATEWAY_PATHS
from api.schemas.models import ModelCreate, ModelFromSource
from api.schemas.predictions import ImmediateInput, PredictionAnswer, PredictionCreate, PredictionInput
from api.schemas.versions import SourceFields

ERROR = "#/components/schemas/Problem"
TAGS = (
    ("models", "Models: the names under which versions are kept."),
    ("versions", "Versions: one immutable upload each, described and tried before it is ready."),
    ("services", "Services: versions that answer predictions."),
    ("predictions", "Predictions: submitted inferences with an id. Immediate ones go to the service itself."),
    ("operations", "Operations: every change that takes time, from wish to effect."),
    ("webhooks", "Webhooks: signed deliveries of events (Standard Webhooks 1.0.0)."),
    ("events", "Events: what happened."),
    ("users", "Who asks, and tokens."),
    ("system", "This installation."),
    ("health", "For probes and Prometheus."),
)


STEERING = (
    ("Idempotency-Key", "The same key and body give the same answer, with `Idempotent-Replayed: true`."),
    ("Prefer", "`wait=N` holds the answer for up to N seconds (at most 60) until the operation is done."),
    (
        "If-Match",
        "The `etag` that the change is meant for; 412 when the resource is another by now, 422 where there is none.",
    ),
)


class FieldFault(BaseModel):
    """What is wrong with one field."""

    pointer: str = Field(description="RFC 6901 JSON pointer into the request's body, or / and a parameter's name.")
    detail: str
    hint: str | None = None


class Problem(BaseModel):
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
            found = super().openapi()
            _tell_shapes(found)
            _tell_errors(found)
            for path, operation in GATEWAY_PATHS.items():
                found["paths"][path] = {"post": _with_problems(copy.deepcopy(operation))}
            found["tags"] = [{"name": name, "description": text} for name, text in TAGS]
            found["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
            found["security"] = [{"bearer": []}, {}]
            self.openapi_schema = found
        return self.openapi_schema


# What no route declares as its body or answer: errors, a body that may be a form as well, what the gateway answers.
UNSEEN = (
    Problem,
    ModelCreate,
    ModelFromSource,
    SourceFields,
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
                operation["parameters"] = [
                    *operation.get("parameters", ()),
                    *map(_header, *zip(*STEERING, strict=True)),
                ]


def _tell_media_types(response: dict[str, Any]) -> None:
    """Where a route says what it answers with, the JSON that FastAPI adds to it is no answer."""
    content = response.get("content", {})
    if len(content) > 1 and content.get("application/json") == {"schema": {}}:
        del content["application/json"]


def _with_problems(operation: dict[str, Any]) -> dict[str, Any]:
    """The same operation, its errors told."""
    content = {PROBLEM: {"schema": {"$ref": ERROR}}}
    operation["responses"]["default"] = {"description": "Problem details (RFC 9457)", "content": content}
    return operation


def _header(name: str, text: str) -> dict[str, object]:
    return {"name": name, "in": "header", "required": False, "description": text, "schema": {"type": "string"}}
