"""What an apply would do with a declared job: each field that its document has, compared with the platform's."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from cli.apply.change import COLLECTIONS, Change, about, change_of, path_of
from cli.apply.documents import Declared
from cli.apply.fields import cores, memory, seconds
from cli.client import Document, Platform
from cli.failure import CommandFailed, Exit

LARGEST_SCRIPT_BYTES = 256 * 1024  # of a text within a request
# Of these a document says a part, and what it does not say stays.
PARTLY = ("output", "resources", "retries", "schedule", "script", "inputs")
# What stands in these and in the document no more is taken away.
NAMED = ("mapping", "outputs", "env")


def plan_job(platform: Platform, one: Declared, declared: Sequence[Declared]) -> Change:
    """Raises `CommandFailed` for a job of another kind, and for one that names what is nowhere."""
    found = platform.find(path_of("job", one.name))
    kind = "script" if one.file is not None else "batch"
    if found is not None and found["kind"] != kind:
        raise CommandFailed(
            f"{one.place}: {one}: the platform has one of the kind {found['kind']}, and a job stays of its kind.",
            details=[f"next: take another name, or: portside jobs delete {one.name}"],
            exit_status=Exit.CONFLICT,
        )
    _check_names(platform, one, declared)
    wish = {**one.fields, **about(one, found)}
    if one.file is not None:
        wish["script"] = {
            "source": _text(one),
            **{name: wish["script"][name] for name in wish["script"] if name != "file"},
        }
    after = {name: SPELL[name](given) if name in SPELL and given is not None else given for name, given in wish.items()}
    if found is None:
        return change_of(one, None, {}, {"kind": kind, **after}, {"kind": kind, **wish})
    before = {name: _shown(name, found, after[name]) for name in wish}
    changed = {name: _sent(name, wish[name], found) for name in wish if before[name] != after[name]}
    if "env" in wish and changed.keys() & {"env", "tags"}:  # other values show in a tag alone
        changed["env"] = _sent("env", wish["env"], found)
    return change_of(one, found, before, after, changed)


def after_each_other(jobs: Sequence[Declared]) -> list[Declared]:
    """Each behind the one that it runs after; a circle stays as it stands, and the platform refuses it."""
    left, found = list(jobs), list[Declared]()
    while left:
        waited_for = {one.name for one in left}
        now = [one for one in left if one.fields.get("after") not in waited_for] or left
        found += now
        left = [one for one in left if one not in now]
    return found


def _check_names(platform: Platform, one: Declared, declared: Sequence[Declared]) -> None:
    known = {(each.kind, each.name) for each in declared}
    given, inputs = one.fields.get("input") or {}, one.fields.get("inputs") or {}
    models = [one.fields.get("model"), *map(_model_of, _values(inputs.get("models")))]
    named = [("model", each) for each in models]
    if "after" not in one.fields:  # what it reads may be what the other one makes
        named += [("dataset", each) for each in (given.get("dataset"), *_values(inputs.get("datasets")))]
    for kind, name in [*named, ("job", one.fields.get("after"))]:
        if isinstance(name, str) and (kind, name) not in known and platform.find(path_of(kind, name)) is None:
            what = f"no {kind} {name!r}, neither here nor on the platform ({COLLECTIONS[kind]})"
            raise CommandFailed(f"{one.place}: {one}: there is {what}.", exit_status=Exit.NOT_FOUND)


def _values(given: object) -> Iterable[object]:
    return given.values() if isinstance(given, Mapping) else ()


def _model_of(reference: object) -> str:
    """Of `iris`, `iris/3` and `iris@prod`."""
    return str(reference).partition("@")[0].partition("/")[0]


def _text(one: Declared) -> str:
    """The script's. Raises `CommandFailed` for what cannot be sent as one."""
    assert one.file is not None
    try:
        text = one.file.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        what = f"{one.file} cannot be read as text ({error})"
        raise CommandFailed(f"{one.place}: {one}: {what}.", exit_status=Exit.USAGE) from error
    if not 0 < len(text.encode()) <= LARGEST_SCRIPT_BYTES:
        what = f"{one.file} must be a text of 1 to {LARGEST_SCRIPT_BYTES} bytes; upload a larger one, or an archive"
        raise CommandFailed(f"{one.place}: {one}: {what}.", exit_status=Exit.USAGE)
    return text


def _shown(name: str, found: Document, wanted: Any) -> Any:
    """A field as it is, as far as the document says something of it."""
    if name == "env":
        return sorted(found["env_names"])
    if name == "tags":
        return sorted(found["tags"])
    shown = found[name]
    if name in ("input", "on_error") and isinstance(shown, Mapping):
        return _without_nothing(shown)
    if name not in PARTLY or not isinstance(wanted, Mapping):
        return shown or wanted if not wanted else shown  # an empty list is as good as none
    if name == "schedule" and shown is not None:
        shown = {**shown, "every": shown["every_s"], "jitter": shown["jitter_s"]}
    return {part: _instant(part, (shown or {}).get(part)) for part in wanted}


def _sent(name: str, wished: Any, found: Document) -> Any:
    """A field as a merge patch (RFC 7396) has it."""
    if name == "inputs":
        return {part: _replaced(found["inputs"].get(part), given) for part, given in wished.items()}
    if name in NAMED:
        return _replaced(found["env_names"] if name == "env" else found[name], wished)
    return wished


def _replaced(names: Iterable[str] | None, wished: Any) -> Any:
    """What a patch says so that nothing else stays; null takes a member away."""
    return {**dict.fromkeys(names or ()), **wished} if isinstance(wished, Mapping) else wished


def _without_nothing(given: Mapping[str, Any]) -> dict[str, Any]:
    return {part: value for part, value in given.items() if value is not None}


def _input(given: Mapping[str, Any]) -> Mapping[str, Any]:
    spelled = {"format": "csv", "delimiter": "\t"} if given.get("format") == "tsv" else {}
    return _without_nothing({**given, **spelled})


def _policy(given: Any) -> Any:
    said = {"policy": given} if isinstance(given, str) else given
    return _without_nothing(said) if isinstance(said, Mapping) else said


def _passed(given: Any) -> Any:
    is_list = isinstance(given, list) and all(isinstance(each, str) for each in given)
    return list(dict.fromkeys(given)) if is_list else given


def _script(given: Mapping[str, Any]) -> Mapping[str, Any]:
    told = {"digest": f"sha256:{hashlib.sha256(given['source'].encode()).hexdigest()}", **given}
    del told["source"]
    if isinstance(told.get("requirements"), list):
        told["requirements"] = "\n".join(map(str, told["requirements"])) or None
    return told


def _resources(given: Mapping[str, Any]) -> Mapping[str, Any]:
    quantities: Mapping[str, Callable[[Any], Any]] = {"cpu": cores, "memory": memory}
    return {part: quantities[part](value) for part, value in given.items() if part in quantities}


def _schedule(given: Mapping[str, Any]) -> Mapping[str, Any]:
    told = {part: _instant(part, value) for part, value in given.items()}
    if isinstance(given.get("cron"), str):
        told["cron"] = " ".join(given["cron"].split())
    return told | {part: seconds(given[part]) for part in ("every", "jitter") if part in given}


def _instant(part: str, value: Any) -> Any:
    """Instants in one spelling, whatever their zone; what is none is for the platform to refuse."""
    if part not in ("at", "start", "end") or not isinstance(value, str):
        return value
    with suppress(ValueError):
        found = datetime.fromisoformat(value)
        return found.astimezone(UTC).isoformat() if found.tzinfo else value
    return value


# Fields in the platform's own spelling.
SPELL: Mapping[str, Callable[[Any], Any]] = {
    "input": _input,
    "on_error": _policy,
    "pass_through": _passed,
    "script": _script,
    "inputs": lambda given: {part: names or {} for part, names in given.items()},
    "resources": _resources,
    "schedule": _schedule,
    "env": sorted,
    "tags": sorted,
}
