"""Requests as the API wants them: reads, and mutations that a key lets happen once."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from urllib.parse import quote

from portside.errors import InvalidInput
from portside.messages import Json, Query, Repeat, Request

IDEMPOTENCY_KEY = "idempotency-key"


def path_to(collection: str, *names: str) -> str:
    """A resource of the API: `path_to("models", "iris", "versions", "3")`. Raises `InvalidInput`."""
    return "/".join(["/api/v1", collection, *map(_step, names)])


def _step(name: str) -> str:
    """One step of a path; what a URL would read as no step or as one back would lead to another resource."""
    if name in ("", ".", ".."):
        raise InvalidInput(f"{name!r} is no name: give the name of a resource, such as 'iris'.")
    try:
        return quote(name, safe=":@")
    except UnicodeEncodeError as error:
        raise InvalidInput(f"{name!r} is no name: it is not valid Unicode.") from error


def reading(
    path: str, query: Query | None = None, *, idle_s: float | None = None, wants_document: bool = True
) -> Request:
    """A GET."""
    return Request("GET", path, query or {}, repeat=Repeat.ALWAYS, idle_s=idle_s, wants_document=wants_document)


def changing(method: str, path: str, body: Json = None, headers: Mapping[str, str] | None = None) -> Request:
    """A mutation with a JSON body, or without one, under a key of its own. Raises `InvalidInput`."""
    given = {} if body is None else {"content-type": "application/json"}
    keyed = {IDEMPOTENCY_KEY: new_key(), **given, **(headers or {})}
    content = None if body is None else encoded(body)
    return Request(method, path, {}, keyed, content, Repeat.ALWAYS, wants_document=True)


def deletion(model: str, *, cascade: bool, services: Sequence[str] | None = None, dry_run: bool = False) -> Request:
    """The deletion of a model, with its services or without. Raises `InvalidInput`."""
    if services is not None and not cascade:
        raise InvalidInput("services are the ones that may go with the model: give cascade=True, too.")
    query = {"cascade": "true"} if cascade else {}
    query |= {} if services is None else {"services": ",".join(services)}
    query |= {"dry_run": "true"} if dry_run else {}
    return replace(changing("DELETE", path_to("models", model)), query=query)


def bearer(token: str | None) -> dict[str, str]:
    """The header that says who asks."""
    return {} if token is None else {"authorization": f"Bearer {token}"}


def new_key() -> str:
    """An Idempotency-Key that nobody else has: 128 random bits (`uuid` would take 6 ms to import)."""
    return os.urandom(16).hex()


def encoded(value: Json) -> bytes:
    """The value as JSON; arrays and numbers of numpy and others by their `tolist`. Raises `InvalidInput`."""
    try:
        return json.dumps(value, allow_nan=False, default=_plain).encode()
    except (TypeError, ValueError) as error:
        hint = "send numbers, texts, booleans, None, lists and dicts; a missing value is None, not NaN"
        raise InvalidInput(f"The input cannot be sent as JSON ({error}): {hint}.") from error
    except RecursionError as error:
        raise InvalidInput("The input cannot be sent as JSON: it is nested too deeply; flatten it.") from error


def _plain(value: object) -> object:
    as_plain = getattr(value, "tolist", None)
    if callable(as_plain):
        plain: object = as_plain()
        return plain
    raise TypeError(f"a {type(value).__name__} is none of its types")
