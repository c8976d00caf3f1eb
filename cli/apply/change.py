"""A difference between what is declared and what is there, and the tags by which an apply knows its own again."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias
from urllib.parse import quote

from cli.apply.documents import Declared
from cli.apply.fields import READ_AS, SEALED
from cli.client import Document

MARK = "managed-by=portside-apply"
# What they say is never shown: so it is known whether it has changed.
DIGEST_MARKS: Mapping[str, str] = {
    "env": "portside-apply-env=",
    "config_files": "portside-apply-config=",
    "read_as": "portside-apply-format=",
}
COLLECTIONS = {
    "model": "/api/v1/models",
    "dataset": "/api/v1/datasets",
    "service": "/api/v1/services",
    "job": "/api/v1/jobs",
}
DESCRIBED = ("display_name", "description", "tags")
# What is said of a resource, by the names of its fields.
Fields: TypeAlias = Mapping[str, Any]
Action: TypeAlias = Literal["create", "change", "delete", "none"]


@dataclass(frozen=True, slots=True)
class Change:
    """One resource: what is said of it now and what shall be; `wish` is what is sent. Equal is no change.

    `uploads` where bytes are brought: of a model a version more, of a dataset others instead of those that it has.
    """

    action: Action
    kind: str
    name: str
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    wish: Mapping[str, Any] = field(default_factory=dict)
    declared: Declared | None = None
    uploads: bool = False

    @property
    def path(self) -> str:
        """The resource."""
        return path_of(self.kind, self.name)


def path_of(kind: str, name: str) -> str:
    """Where a resource is."""
    return f"{COLLECTIONS[kind]}/{quote(name, safe='')}"


def about(one: Declared, found: Document | None) -> Fields:
    """Names and tags to send: what is made now gets the mark; an old mark stays, whatever tags are given."""
    said = {name: one.fields[name] for name in ("display_name", "description") if name in one.fields}
    kept = [MARK] if found is None or MARK in found["tags"] else []
    kept += marks(one)
    given = one.fields.get("tags")
    if given is None:
        given = [] if found is None else [tag for tag in found["tags"] if not _is_mark(tag)]
    return {**said, "tags": [*given, *(tag for tag in kept if tag not in given)]}


def told(shown: Fields, said: Fields) -> dict[str, object]:
    """What is shown of a dataset's descriptions, as far as they are said."""
    return {name: sorted(shown[name]) if name == "tags" else shown[name] for name in DESCRIBED if name in said}


def marks(one: Declared) -> list[str]:
    """The tags that tell what the document says where the platform does not show it."""
    return [DIGEST_MARKS[name] + _digest(one, value) for name, value in _unseen(one) if value]


def _unseen(one: Declared) -> Iterator[tuple[str, object]]:
    yield from ((name, one.fields.get(name)) for name in SEALED)
    if one.kind == "dataset":
        yield "read_as", {name: one.fields[name] for name in READ_AS if name in one.fields}


def _digest(one: Declared, value: object) -> str:
    return hashlib.sha256(json.dumps([one.name, value], sort_keys=True).encode()).hexdigest()[:12]


def _is_mark(tag: str) -> bool:
    return tag == MARK or tag.startswith(tuple(DIGEST_MARKS.values()))


def change_of(
    one: Declared,
    found: Document | None,
    before: Fields,
    after: Fields,
    wish: Fields,
    *,
    uploads: bool = False,
) -> Change:
    """What there is to do."""
    is_same = found is not None and before == after
    action: Action = "create" if found is None else "none" if is_same else "change"
    return Change(action, one.kind, one.name, before, after, wish, one, uploads)
