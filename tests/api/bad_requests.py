"""Requests that nobody should send, drawn for each resource from the API's own description with a fixed seed.

What the description cannot say (what contradicts, what is not there, what another has) is in `contradictions`.
"""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from jsonschema import Draft202012Validator

from tests.api.contradictions import contradictions
from tests.api.described import JSON, Route, components, fields_of, resource_of, routes, shapes_of

SEED = 20_261_127
PER_RESOURCE = 60
DRAWN = 100  # as far as there are so many
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
WRONG_VALUES: Sequence[object] = (
    None, True, -1, 1.5, 10**30, "", "No Name", "\u202ex", "x" * 20_000, [], [1], [None], [[[{}]]], {}, {"a": {"b": 1}},
)  # fmt: skip
# Names of nobody that a file of a dataset may well have.
ANY_PATH = ("No%20Name", "%F0%9F%98%80", "'%20OR%201=1", "%ff")
NOBODY = ("nobody", "No%20Name", "a" * 5_000, "%00", "..%2f..%2fetc", "%F0%9F%98%80", "%ff", "'%20OR%201=1", "0", "-")
# A path that names what is not there yet, which the request would make.
MAKING = {"put_service", "put_prediction", "set_alias", "upload_version", "put_dataset_file", "put_upload_part"}
NO_JSON: Mapping[str, bytes] = {
    "nothing": b"",
    "half an object": b'{"name": ',
    "no UTF-8": b'{"name": "\xff"}',
    "a lone surrogate": b'{"name": "\\ud800"}',
    "NUL": b'{"name": "a\\u0000"}',
    "NaN": b'{"name": NaN}',
    "beyond a double": b'{"name": 1e999}',
    "5,000 digits": b'{"name": ' + b"9" * 5_000 + b"}",
    "10,000 deep": b"[" * 10_000 + b"]" * 10_000,
    "too large": b'{"name": "' + b"x" * 200_000 + b'"}',
    "a list": b"[1]",
    "a text": b'"name"',
}
FIELDS = "application/x-www-form-urlencoded"  # curl -d says so of any body
READ_FIELDS = {"create_prediction", "create_deployment_prediction", "put_prediction", "test_version", "test_part"}
OTHER_TYPES = ("text/plain", "application/xml", FIELDS, "image/png", "nonsense")
WRONG_PAGES: Mapping[str, Sequence[str]] = {
    "page_size": ("0", "-1", "501", "many", "1e3", "9" * 40, ""),
    "page_token": ("x", "%00", "W10", "!!!", "é", "WzEsMiwzXQ", ""),
    "order_by": ("nmae", "-", "--created_at", "created_at,name", ""),
    "count": ("maybe", "2", ""),
    "timeout": ("soon", "-1", "nan", "inf", "1e9"),
    "cascade": ("perhaps", "", "1"),
    "follow": ("perhaps",),
    "tail_bytes": ("-1", "all", "1.5", "9" * 40),
}
WRONG_TIMES = ("yesterday", "2026-13-01T00:00:00Z", "0", "2026-01-01")
STRANGERS: Sequence[tuple[str, Mapping[str, str], int]] = (
    ("a wrong token", {"Authorization": "Bearer pst_wrong"}, 401),
    ("no bearer", {"Authorization": "Basic YTpi"}, 401),
    ("an empty token", {"Authorization": "Bearer "}, 401),
    ("another host", {"Host": "evil.example"}, 403),
    ("another site", {"Origin": "https://evil.example"}, 403),
)


@dataclass(frozen=True)
class BadRequest:
    """What is sent, and what the answer must say: one of `statuses`, and the field or parameter where it is one's."""

    fault: str
    method: str
    path: str
    statuses: Sequence[int]
    pointer: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


def draw(resource: str, world: Mapping[str, str]) -> list[BadRequest]:
    """At least `PER_RESOURCE` of them: all that are written by hand, and of each family in turn, the same each time."""
    chance = random.Random(f"{SEED} {resource}")
    every = routes(world)
    own = [route for route in every if resource_of(route.template) == resource]
    families = [
        [bad for route in own for bad in family(route)]
        for family in (_values, _missing, _unknown_fields, _no_json, _types, _queries, _names, _headers, _strangers)
    ]
    families.append(list(_methods(own, every)))
    for family in families:
        chance.shuffle(family)
    drawn = list(contradictions_of(resource, world))
    while len(drawn) < DRAWN and any(families):
        drawn.extend(family.pop() for family in families if family)
    return drawn


def contradictions_of(resource: str, world: Mapping[str, str]) -> Iterator[BadRequest]:
    for method, path, body, status, pointer in contradictions(world).get(resource, ()):
        headers, content = ({}, b"") if body is None else (JSON, json.dumps(body).encode())
        yield BadRequest("a contradiction", method, path, (status,), pointer, headers, content)


def _values(route: Route) -> Iterator[BadRequest]:
    """A value that the description does not allow for its field."""
    base = route.body if isinstance(route.body, dict) else {}
    for name, schemas in fields_of(route):
        validators = [Draft202012Validator({**schema, "components": components()}) for schema in schemas]
        for value in WRONG_VALUES:
            if not any(validator.is_valid(value) for validator in validators):
                bad = _with_body(route, {**base, name: value})
                statuses = (422, 404) if name == "version" else (422,)  # a number is read as one, and found or not
                yield _as(bad, f"{name} is {json.dumps(value)[:40]}", statuses, f"/{name}")


def _with_body(route: Route, document: object) -> BadRequest:
    return BadRequest("", route.method, route.path, (422,), headers=JSON, body=json.dumps(document).encode())


def _as(bad: BadRequest, fault: str, statuses: Sequence[int] = (422,), pointer: str | None = None) -> BadRequest:
    return BadRequest(fault, bad.method, bad.path, statuses, pointer, bad.headers, bad.body)


def _missing(route: Route) -> Iterator[BadRequest]:
    shapes = list(shapes_of(route.schema))
    if len(shapes) == 1 and isinstance(route.body, dict):
        for name in shapes[0].get("required", ()):
            without = {other: value for other, value in route.body.items() if other != name}
            yield _as(_with_body(route, without), f"no {name}", pointer=f"/{name}")


def _unknown_fields(route: Route) -> Iterator[BadRequest]:
    if not isinstance(route.body, dict):
        return
    names = [name for name, _ in fields_of(route)]
    for name in [*(f"{known[:-2]}{known[:-3:-1]}x" for known in names), "__proto__", "a/b~c", "", "x" * 300]:
        if name not in names:
            shown = name[:100].replace("~", "~0").replace("/", "~1")
            yield _as(_with_body(route, {**route.body, name: 1}), f"unknown {name[:40]!r}", pointer=f"/{shown}")


def _no_json(route: Route) -> Iterator[BadRequest]:
    if route.schema and not isinstance(route.body, bytes):
        for name, body in NO_JSON.items():
            if body or route.described["requestBody"].get("required"):
                yield BadRequest(name, route.method, route.path, (400, 413, 422), None, JSON, body)


def _types(route: Route) -> Iterator[BadRequest]:
    if route.schema and not isinstance(route.body, bytes):
        for given in OTHER_TYPES:
            sent = {"Content-Type": given}
            status = 422 if given == FIELDS and route.id in READ_FIELDS else 415
            yield BadRequest(f"sent as {given}", route.method, route.path, (status,), None, sent, b"{}")


def _queries(route: Route) -> Iterator[BadRequest]:
    headers, body = route.as_it_should_be()
    names = route.parameters("query")

    def ask(name: str, value: str) -> BadRequest:
        sep = "&" if "?" in route.path else "?"
        path = f"{route.path}{sep}{name}={value}"
        return BadRequest("query", route.method, path, (422,), f"/{name}", headers, body)

    for name in ("nmae", "verbose", "page", *(f"{known}_" for known in names)):
        yield ask(name, "1")
    for name in names:
        yield from (ask(name, value) for value in WRONG_PAGES.get(name, ()))
        if name.endswith("_at"):
            yield from (ask(f"{name}.gt", value) for value in WRONG_TIMES)
        if name not in WRONG_PAGES:
            yield ask(f"{name}.like", "x")
            yield ask(f"{name}.not.not.eq", "x")
            yield ask(f"{name}.in", ",".join(["2026-01-01T00:00:00Z"] * 501))


def _names(route: Route) -> Iterator[BadRequest]:
    """Something else in the place of each name in the path."""
    headers, body = route.as_it_should_be()
    places = [place for place in route.parameters("path") if place != "owner"]
    for place in places:
        makes = route.id in MAKING and (place == places[-1] or route.id == "upload_version")
        for name in NOBODY:
            if makes and (name in ("nobody", "0", "-") or (place == "path" and name in ANY_PATH)):
                continue
            before, _, after = route.template.partition("{" + place + "}")
            path = f"{_prefix(route, before)}{name}{_suffix(route, after)}"
            statuses = (404, 422) if makes else (404,)
            yield BadRequest(f"{place} is {name[:40]}", route.method, path, statuses, None, headers, body)


def _prefix(route: Route, before: str) -> str:
    """The part of the route's path that this part of its template became."""
    parts = before.count("/")
    return "/".join(route.path.split("/")[:parts]) + "/"


def _suffix(route: Route, after: str) -> str:
    if not after.count("/"):
        return after
    return (after.partition("/")[0]) + "/" + "/".join(route.path.split("/")[-after.count("/") :])


def _headers(route: Route) -> Iterator[BadRequest]:
    headers, body = route.as_it_should_be()
    sent: list[tuple[str, str, int]] = []
    if route.method != "GET":
        sent += [("Idempotency-Key", key, 422) for key in ("", '""', "k" * 256, '"' + "k" * 300 + '"')]
    if route.id == "download_file":
        sent += [("Range", text, 416) for text in ("bytes=99999999999-", "bytes=-0", "bytes=999999-1000000")]
    if "create" in route.id and "prediction" in route.id:
        sent += [("Cancel-After", text, 422) for text in ("", "soon", "-1s", "0s", "25h", "1d", "99999999999s")]
    if route.method != "GET":  # without an etag to hold it against it is not described, and refused
        sent.append(("If-Match", '"999"', 412 if "If-Match" in route.parameters("header") else 422))
    for name, value, status in sent:
        pointer = f"/{name}" if status == 422 else None
        yield BadRequest(
            f"{name}: {value[:30]}", route.method, route.path, (status,), pointer, {**headers, name: value}, body
        )


def _strangers(route: Route) -> Iterator[BadRequest]:
    if not route.template.startswith("/api/"):
        return
    headers, body = route.as_it_should_be()
    for fault, sent, status in STRANGERS:
        yield BadRequest(fault, route.method, route.path, (status,), None, {**headers, **sent}, body)


def _methods(own: Sequence[Route], every: Sequence[Route]) -> Iterator[BadRequest]:
    for route in own:
        possible = {other.method for other in every if other.template == route.template}
        for method in (*METHODS, "BREW"):
            if method not in possible:
                yield BadRequest("wrong method", method, route.path, (405,))
