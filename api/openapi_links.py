"""OpenAPI links: which calls an answer makes possible, and where in it is what they need.

Derived from the description itself. A list tells what its items are called in paths: `/models` lists `ModelShown`, so
`/models/{model}` is one. Each answer that is the first to show a resource leads to all that can be done with it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

# A part of the description: only looked into.
Part: TypeAlias = Mapping[str, Any]

COMPONENTS: Final = "#/components/schemas/"
OPERATION: Final = "OperationShown"
MEMBERS: Final = ("items", "results")
# A 202 tells of an operation on what the same call's 200 or 201 shows; here it is the version that came with the model.
OTHER_TARGETS: Final[Mapping[str, str]] = {"create_model": "VersionShown"}


@dataclass(frozen=True)
class Call:
    """One operation of the description."""

    path: str
    method: str
    described: Part

    @property
    def id(self) -> str:
        """What a link names."""
        return str(self.described["operationId"])

    @property
    def parameters(self) -> Sequence[str]:
        """The names in its path, in order."""
        return [part.partition("}")[0] for part in self.path.split("{")[1:]]

    def shows(self, status: str) -> str:
        """The name of the schema of an answer, empty where it has none."""
        content = self.described["responses"].get(status, {}).get("content", {})
        return _named(content.get("application/json", {}).get("schema", {}))


@dataclass(frozen=True)
class Resource:
    """What has a path of its own, and where in an answer it is shown (`place`, a JSON pointer)."""

    path: str
    properties: Mapping[str, object]
    place: str = ""

    @property
    def own(self) -> str:
        """The parameter that names it, the last one of its path."""
        return self.path.rpartition("{")[2].rstrip("}")

    @property
    def member(self) -> str:
        """The member that its own parameter takes."""
        names = (self.own, *(() if self.own.endswith("_id") else ("name", "key")))
        return next((name for name in names if name in self.properties), "id")

    def concerns(self, call: Call) -> bool:
        """Whether a call is about it or about something below it."""
        return call.path == self.path or call.path.startswith((self.path + "/", self.path + ":"))

    def value_of(self, parameter: str, call: Call) -> str | None:
        """The runtime expression for a path's parameter after `call`; None where the answer does not tell it."""
        if parameter == self.own:
            return f"$response.body#{self.place}/{self.member}"
        if parameter in call.parameters:
            return f"$request.path.{parameter}"
        found = next((name for name in (parameter, parameter.removesuffix("_id")) if name in self.properties), None)
        return None if found is None else f"$response.body#{self.place}/{found}"


def tell_links(description: Part) -> None:
    """Give every answer that makes or lists something its links."""
    schemas = description["components"]["schemas"]
    calls = [
        Call(path, method, each) for path, methods in description["paths"].items() for method, each in methods.items()
    ]
    resources = dict(_resources(calls, schemas))
    for call in calls:
        for status, response in call.described["responses"].items():
            found = [_links_to(resource, call, calls) for resource in _shown_first(call, status, resources, schemas)]
            if links := {name: link for links in found for name, link in links.items()}:
                response["links"] = links


def _resources(calls: Sequence[Call], schemas: Part) -> Iterator[tuple[str, Resource]]:
    """What is listed and has a path below the list's, by the name of its schema."""
    for listing in calls:
        name, _ = _listed(schemas.get(listing.shows("200"), {}))
        below = [call.path for call in calls if call.path.startswith(listing.path + "/{")]
        if name and below and listing.method == "get":
            path = below[0][: below[0].index("}", len(listing.path)) + 1]
            yield name, Resource(path, schemas[name]["properties"])


def _shown_first(call: Call, status: str, resources: Mapping[str, Resource], schemas: Part) -> Iterator[Resource]:
    """What the client learns of by this answer: what it made, the first item of a list, an operation's target."""
    name = call.shows(status)
    listed, member = _listed(schemas.get(name, {}))
    if call.method == "get":
        if listed in resources:
            yield replace(resources[listed], place=f"/{member}/0")
    elif name in resources and (status != "200" or call.method == "put"):
        yield resources[name]
        target = resources.get(OTHER_TARGETS.get(call.id) or call.shows("201"))
        if name == OPERATION and target is not None:
            yield _as_target(target, schemas["TargetShown"]["properties"])


def _as_target(resource: Resource, properties: Mapping[str, object]) -> Resource:
    """The resource as an operation shows it: its name is there whatever its own document calls it."""
    return replace(resource, properties=properties, place="/target")


def _listed(schema: Part) -> tuple[str, str]:
    """The schema of a list's items and the member that holds them, both empty where it is no list."""
    for member in MEMBERS:
        if name := _named(schema.get("properties", {}).get(member, {}).get("items", {})):
            return name, member
    return "", ""


def _named(schema: Part) -> str:
    return str(schema.get("$ref", "")).removeprefix(COMPONENTS)


def _links_to(resource: Resource, call: Call, calls: Sequence[Call]) -> dict[str, object]:
    """The links to all that can be done with the resource; a PUT may leave a name to who follows the link."""
    links: dict[str, object] = {}
    for other in calls:
        values = {parameter: resource.value_of(parameter, call) for parameter in other.parameters}
        known = {parameter: value for parameter, value in values.items() if value is not None}
        if other.id != call.id and resource.concerns(other) and (known == values or other.method == "put"):
            links[other.id] = {"operationId": other.id, "parameters": known}
    return links
