"""What an apply would do: each declared model and service compared with the platform's. Changes nothing."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote

from cli.apply.documents import Declared
from cli.apply.fields import SEALED, cores, memory
from cli.apply.sources import artifact_digest
from cli.client import Document, Platform
from cli.failure import CommandFailed, Exit

MARK = "managed-by=portside-apply"
# What they say is never shown: so it is known whether it has changed.
DIGEST_MARKS = {"env": "portside-apply-env=", "config_files": "portside-apply-config="}
NAMES = {"env": "env_names", "config_files": "config_file_names"}
NEW = "the new one"
SPELL: Mapping[str, Callable[[Any], object]] = {"cpu": cores, "memory": memory, "gpu": int}
COLLECTIONS = {"model": "/api/v1/models", "service": "/api/v1/services"}


@dataclass(frozen=True, slots=True)
class Change:
    """One model or service: what is said of it now and what shall be; `wish` is what is sent. Equal is no change."""

    action: Literal["create", "change", "delete", "none"]
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
        return f"{COLLECTIONS[self.kind]}/{quote(self.name, safe='')}"


def make_plan(platform: Platform, declared: Sequence[Declared], *, prune: bool) -> list[Change]:
    """Models, then services, then what is to be deleted, services first. Raises `CommandFailed`."""
    models = {one.name: one for one in declared if one.kind == "model"}
    of_models = {name: _model(platform, one) for name, one in models.items()}
    of_services = [_service(platform, one, of_models) for one in declared if one.kind == "service"]
    gone = list(_gone(platform, declared)) if prune else []
    return [*of_models.values(), *of_services, *gone]


def _model(platform: Platform, one: Declared) -> Change:
    path = f"{COLLECTIONS['model']}/{quote(one.name, safe='')}"
    model, digest = platform.find(path), artifact_digest(one)
    known = platform.find(f"{path}/versions/{digest}") if model else None
    uploads = known is None or known["status"] != "ready"
    before: dict[str, Any] = {}
    after: dict[str, Any] = {"artifact": digest}
    wish = _about(one, model)
    if model is not None:
        latest = platform.find(f"{path}/versions/latest") if uploads else known
        before = {"artifact": latest["digest"]} if latest else {}
        before |= {name: model[name] for name in wish if name in one.fields}
    after |= {name: given for name, given in wish.items() if model is None or name in one.fields}
    return _change(one, model, before, after, wish, uploads=uploads)


def _service(platform: Platform, one: Declared, models: Mapping[str, Change]) -> Change:
    service = platform.find(f"{COLLECTIONS['service']}/{quote(one.name, safe='')}")
    follows = bool(one.fields.get("follow"))
    version = (
        one.fields.get("version", "latest") if follows else _version(platform, one, models, is_new=service is None)
    )
    wish: dict[str, Any] = {"model": one.fields["model"], **({} if version is None else {"version": version})}
    given = ("follow", "replicas", "resources", "runtime", *SEALED)
    wish |= {name: one.fields[name] for name in given if name in one.fields}
    wish |= _about(one, service)
    if service is None:
        after = {**wish, **{name: sorted(wish[name]) for name in SEALED if name in wish}}
        return _change(one, None, {}, after, wish)
    before: dict[str, Any] = {}
    after = {}
    for name in wish:
        before[name], after[name] = _both(name, service, wish)
    return _change(one, service, before, after, _patch(service, wish, before, after))


def _about(one: Declared, found: Document | None) -> dict[str, Any]:
    """Names and tags to send: what is made now gets the mark; an old mark stays, whatever tags are given."""
    about = {name: one.fields[name] for name in ("display_name", "description") if name in one.fields}
    kept = [MARK] if found is None or MARK in found["tags"] else []
    kept += [mark + _digest(one, name) for name, mark in DIGEST_MARKS.items() if one.fields.get(name)]
    given = one.fields.get("tags")
    if given is None:
        given = [] if found is None else [tag for tag in found["tags"] if not _is_mark(tag)]
    return {**about, "tags": [*given, *(tag for tag in kept if tag not in given)]}


def _digest(one: Declared, name: str) -> str:
    return hashlib.sha256(json.dumps([one.name, one.fields[name]], sort_keys=True).encode()).hexdigest()[:12]


def _is_mark(tag: str) -> bool:
    return tag == MARK or tag.startswith(tuple(DIGEST_MARKS.values()))


def _version(platform: Platform, one: Declared, models: Mapping[str, Change], *, is_new: bool) -> str | None:
    """The number to serve, `NEW` where it is still to be made, or nothing where any one does.

    A model that is declared beside it means the version of its file; `latest` is the newest one.
    """
    model, wanted = one.fields["model"], one.fields.get("version")
    if model in models and wanted in (None, "latest"):
        if models[model].uploads:
            return NEW
        if wanted is None:
            wanted = str(models[model].after["artifact"])
    if wanted is None and not is_new:
        return None
    path = f"{COLLECTIONS['model']}/{quote(model, safe='')}"
    found = platform.find(f"{path}/versions/{quote(wanted or 'latest', safe=':@')}")
    if found is None:
        what = f"no version {wanted!r} of model {model!r}" if wanted else f"no model {model!r} with a ready version"
        raise CommandFailed(
            f"{one.place}: {one}: there is {what}, neither here nor on the platform.", exit_status=Exit.NOT_FOUND
        )
    return str(found["version"])


def _both(name: str, service: Document, wish: Mapping[str, Any]) -> tuple[object, object]:
    """A field as it is and as it shall be, spelled alike."""
    wanted = wish[name]
    if name in SEALED:
        return sorted(service[NAMES[name]]), sorted(wanted)
    if name == "tags":
        return sorted(service["tags"]), sorted(wanted)
    if name == "version" and wish.get("follow"):
        return service["version_ref"], wanted  # what it means is the platform's to know
    if name == "resources":
        shown = service["resources"] or {}
        return {part: shown.get(part) for part in wanted}, {part: SPELL[part](wanted[part]) for part in wanted}
    if name == "runtime":
        return {part: text for part, text in (service["runtime"] or {}).items() if text}, wanted
    return service[name], wanted


def _patch(
    service: Document, wish: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]
) -> dict[str, Any]:
    """What differs; what is no longer declared in a mapping is removed (RFC 7396)."""
    changed = {name: wish[name] for name in wish if before[name] != after[name]}
    for name in SEALED:
        if name in wish and (changed.keys() & {name, "tags"}):
            changed[name] = {**dict.fromkeys(service[NAMES[name]]), **wish[name]}
    if "runtime" in changed:
        changed["runtime"] = {**dict.fromkeys(service["runtime"] or {}), **wish["runtime"]} or None
    return changed


def _change(
    one: Declared,
    found: Document | None,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    wish: Mapping[str, Any],
    *,
    uploads: bool = False,
) -> Change:
    is_same = found is not None and before == after
    action: Literal["create", "change", "none"] = "create" if found is None else "none" if is_same else "change"
    return Change(action, one.kind, one.name, before, after, wish, one, uploads)


def _gone(platform: Platform, declared: Sequence[Declared]) -> Iterator[Change]:
    """What an apply has made and nobody declares any more."""
    kept = {(one.kind, one.name) for one in declared}
    for kind in ("service", "model"):
        for found in platform.items(COLLECTIONS[kind], page_size=500):
            is_ours = MARK in found["tags"] and found["status"] != "deleting"
            if is_ours and (kind, found["name"]) not in kept:
                before = {"model": found["model"], "version": found["version"]} if kind == "service" else {}
                yield Change("delete", kind, found["name"], before)
