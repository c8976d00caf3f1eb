"""Whether what a platform answers is what the API's description says: no more, no less."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from httpx2 import Client, Response
from jsonschema import Draft202012Validator


@dataclass(frozen=True)
class Description:
    """An OpenAPI 3.1 document."""

    document: Mapping[str, Any]

    def faults(self, url: str, known: Mapping[str, Sequence[str]]) -> list[str]:
        """GET everything that there is with the known values of the paths' parameters; what does not fit."""
        with Client(base_url=url, timeout=60) as client:
            return [
                f"{path}: {fault}"
                for path, operation in self._readable()
                for path in self._paths(path, operation, known)
                for fault in self._faults_of(operation, client.get(path))
            ]

    def _readable(self) -> Iterator[tuple[str, dict[str, Any]]]:
        yield from ((path, methods["get"]) for path, methods in self.document["paths"].items() if "get" in methods)

    def _paths(self, path: str, operation: dict[str, Any], known: Mapping[str, Sequence[str]]) -> Iterator[str]:
        names = [each["name"] for each in operation.get("parameters", ()) if each["in"] == "path"]
        for values in product(*(known[name] for name in names)):
            yield path.format(**dict(zip(names, values, strict=True)))

    def _faults_of(self, operation: dict[str, Any], response: Response) -> Iterator[str]:
        described = operation["responses"].get(str(response.status_code), {})
        media_type = response.headers["content-type"].partition(";")[0]
        schema = described.get("content", {}).get(media_type, {}).get("schema")
        if schema is None:
            yield f"{response.status_code} {media_type} is not described"
        elif media_type == "application/json":
            whole = {**schema, "components": self.document["components"]}
            for error in Draft202012Validator(whole).iter_errors(response.json()):
                yield f"{error.json_path} {error.message[:200]}"
            yield from (
                f"{place} is not described" for place in sorted(set(self._untold(schema, response.json(), "$")))
            )

    def _untold(self, schema: Mapping[str, Any], value: object, place: str) -> Iterator[str]:
        """Members that the description does not know."""
        while "$ref" in schema:
            schema = self.document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        for alternative in schema.get("anyOf", ()):
            yield from self._untold(alternative, value, place)
        if isinstance(value, dict) and "properties" in schema:
            for name, member in value.items():
                if name in schema["properties"]:
                    yield from self._untold(schema["properties"][name], member, f"{place}.{name}")
                else:
                    yield f"{place}.{name}"
        elif isinstance(value, list) and "items" in schema:
            for item in value:
                yield from self._untold(schema["items"], item, f"{place}[]")
