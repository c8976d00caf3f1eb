"""What an apply would do: each declared resource compared with the platform's. Changes nothing."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from cli.apply.change import COLLECTIONS, MARK, Change, about, change_of
from cli.apply.dataset_plan import plan_dataset
from cli.apply.documents import Declared
from cli.apply.fields import SEALED, cores, memory
from cli.apply.job_plan import after_each_other, plan_job
from cli.apply.sources import artifact_digest
from cli.client import Document, Platform
from cli.failure import CommandFailed, Exit

NAMES = {"env": "env_names", "config_files": "config_file_names"}
NEW = "the new one"
TOLD = {"service": ("model", "version"), "job": ("kind", "model", "version"), "dataset": ("rows",)}
SPELL: Mapping[str, Callable[[Any], object]] = {"cpu": cores, "memory": memory, "gpu": int}


def make_plan(platform: Platform, declared: Sequence[Declared], *, prune: bool) -> list[Change]:
    """Models, datasets, services, jobs, each after what it names; then what is to be deleted, in the opposite order.

    Raises `CommandFailed`.
    """
    models = {one.name: one for one in declared if one.kind == "model"}
    of_models = {name: _model(platform, one) for name, one in models.items()}
    of_datasets = [plan_dataset(platform, one) for one in declared if one.kind == "dataset"]
    of_services = [_service(platform, one, of_models) for one in declared if one.kind == "service"]
    jobs = after_each_other([one for one in declared if one.kind == "job"])
    of_jobs = [plan_job(platform, one, declared) for one in jobs]
    gone = list(_gone(platform, declared)) if prune else []
    return [*of_models.values(), *of_datasets, *of_services, *of_jobs, *gone]


def _model(platform: Platform, one: Declared) -> Change:
    path = f"{COLLECTIONS['model']}/{quote(one.name, safe='')}"
    model, digest = platform.find(path), artifact_digest(one)
    known = platform.find(f"{path}/versions/{digest}") if model else None
    uploads = known is None or known["status"] != "ready"
    before: dict[str, Any] = {}
    after: dict[str, Any] = {"artifact": digest}
    wish = about(one, model)
    if model is not None:
        latest = platform.find(f"{path}/versions/latest") if uploads else known
        before = {"artifact": latest["digest"]} if latest else {}
        before |= {name: model[name] for name in wish if name in one.fields}
    after |= {name: given for name, given in wish.items() if model is None or name in one.fields}
    return change_of(one, model, before, after, wish, uploads=uploads)


def _service(platform: Platform, one: Declared, models: Mapping[str, Change]) -> Change:
    service = platform.find(f"{COLLECTIONS['service']}/{quote(one.name, safe='')}")
    follows = bool(one.fields.get("follow"))
    version = (
        one.fields.get("version", "latest") if follows else _version(platform, one, models, is_new=service is None)
    )
    wish: dict[str, Any] = {"model": one.fields["model"], **({} if version is None else {"version": version})}
    given = ("follow", "replicas", "resources", "runtime", *SEALED)
    wish |= {name: one.fields[name] for name in given if name in one.fields}
    wish |= about(one, service)
    if service is None:
        after = {**wish, **{name: sorted(wish[name]) for name in SEALED if name in wish}}
        return change_of(one, None, {}, after, wish)
    before: dict[str, Any] = {}
    after = {}
    for name in wish:
        before[name], after[name] = _both(name, service, wish)
    return change_of(one, service, before, after, _patch(service, wish, before, after))


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


def _gone(platform: Platform, declared: Sequence[Declared]) -> Iterator[Change]:
    """What an apply has made and nobody declares any more."""
    kept = {(one.kind, one.name) for one in declared}
    for kind in ("service", "job", "dataset", "model"):
        listed = platform.items(COLLECTIONS[kind], page_size=500)
        ours = [each for each in listed if MARK in each["tags"] and each["status"] != "deleting"]
        for found in _followers_first(ours) if kind == "job" else ours:
            if (kind, found["name"]) not in kept:
                before = {name: found[name] for name in TOLD.get(kind, ()) if found[name]}
                yield Change("delete", kind, found["name"], before)


def _followers_first(jobs: Sequence[Document]) -> list[Document]:
    """A job that others run after can only be deleted after them."""
    named = {job["name"]: job for job in jobs}
    return sorted(jobs, key=lambda job: -_depth(job, named))


def _depth(job: Document, named: Mapping[str, Document]) -> int:
    """How many jobs there are before it; the platform lets no job run after itself."""
    depth = 0
    while job["after"] in named and depth < len(named):
        depth, job = depth + 1, named[job["after"]]
    return depth
