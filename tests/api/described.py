"""The routes of the API as its own description tells them, each with a request that would be done."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any

from api.app import openapi_document
from api.gateway.description import GATEWAY_PATHS
from tests.api.world import BODIES, FORM, path_of

JSON = {"Content-Type": "application/json"}
# Which resource a path is of: the first that fits. What is left over is the system's.
RESOURCES: Mapping[str, Sequence[str]] = {
    "batches": ("/operations:", "/services:", "/predictions:"),
    "runs": ("/runs", "}:run"),
    "jobs": ("/jobs",),
    "aliases": ("/aliases",),
    "versions": ("/versions",),
    "predictions": ("/predictions",),
    "replicas": ("/replicas",),
    "deliveries": ("/deliveries", ":redeliver"),
    "switches": ("/switches",),
    "models": ("/models",),
    "services": ("/services",),
    "operations": ("/operations",),
    "webhooks": ("/webhooks",),
    "files": ("/files",),
    "tokens": ("/tokens",),
    "events": ("/events",),
    "system": ("/",),
}


@dataclass(frozen=True)
class Route:
    """One operation of the description, with a path and a body that it takes."""

    id: str
    method: str
    template: str
    path: str
    described: Mapping[str, Any]
    body: object

    @property
    def schema(self) -> Mapping[str, Any]:
        """What is said of its JSON body; empty where it has none."""
        content = self.described.get("requestBody", {}).get("content", {})
        found: Mapping[str, Any] = content.get("application/json", {}).get("schema", {})
        return found

    def parameters(self, place: str) -> list[str]:
        """The names of its parameters in the path or in the query."""
        return [one["name"] for one in self.described.get("parameters", ()) if one["in"] == place]

    def as_it_should_be(self) -> tuple[Mapping[str, str], bytes]:
        """The headers and the body of a request that would be done."""
        if self.body is None:
            return {}, b""
        if self.body is FORM:
            return {"Content-Type": "multipart/form-data; boundary=b"}, FORM
        if isinstance(self.body, bytes):
            return {"Content-Type": "application/octet-stream"}, self.body
        return JSON, json.dumps(self.body).encode()


def resource_of(template: str) -> str:
    """The resource that a path is of."""
    return next(name for name, parts in RESOURCES.items() if any(part in template for part in parts))


def routes(world: Mapping[str, str]) -> list[Route]:
    """Every operation of the API."""
    paths: Any = _described()["paths"]
    return [
        Route(
            described["operationId"],
            method.upper(),
            template,
            path_of(described["operationId"], template, world),
            described,
            _filled(BODIES.get(described["operationId"]), world),
        )
        for template, methods in paths.items()
        if template not in GATEWAY_PATHS  # the gateway answers it, which stands in front of this app
        for method, described in methods.items()
    ]


def _filled(body: object, world: Mapping[str, str]) -> object:
    if body is None or isinstance(body, bytes):
        return body
    text = json.dumps(body).replace("{failed}", world["failed"]).replace("{queued}", world["queued"])
    return json.loads(text)


def fields_of(route: Route) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """Each field of the body with what the description says of it, once for each shape that the body may have."""
    shapes = list(shapes_of(route.schema))
    for name in dict.fromkeys(chain.from_iterable(shape.get("properties", {}) for shape in shapes)):
        yield name, [shape["properties"][name] for shape in shapes if name in shape.get("properties", {})]


def shapes_of(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The objects that a body may be."""
    if "$ref" in schema:
        yield from shapes_of(components()["schemas"][schema["$ref"].rpartition("/")[2]])
    elif "properties" in schema:
        yield schema
    for part in schema.get("anyOf", ()):
        yield from shapes_of(part)


@cache
def _described() -> Mapping[str, Any]:
    found: Mapping[str, Any] = openapi_document()
    return found


def components() -> Mapping[str, Any]:
    """What the schemas refer to."""
    found: Mapping[str, Any] = _described()["components"]
    return found
