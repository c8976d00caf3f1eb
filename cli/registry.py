"""Models, their versions and aliases, as the command line shows and changes them."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote

from cli.client import Document, Platform
from cli.failure import CommandFailed, Exit
from cli.operations import operation_of, wait_for
from cli.output import Columns, Output
from cli.transfer import send_watched
from cli.upload import Artifact, size_in_words
from cli.words import FIELD_COLUMNS, age_in_words, field_rows, overview_in_words, seconds_in_words
from portside.sources import digest_of

MODELS = "/api/v1/models"
CASCADE: Mapping[str, str] = {"cascade": "true"}
# By input: names for the places of a vector.
Features: TypeAlias = Mapping[str, Sequence[str]]
VERSIONS: Columns = {
    "version": lambda version: str(version["version"]),
    "status": lambda version: str(version["status"]),
    "aliases": lambda version: " ".join(f"@{alias}" for alias in version.get("aliases") or ()),
    "what it is": overview_in_words,
    "size": lambda version: _size(version),
    "age": lambda version: age_in_words(version["created_at"]),
}
PARTS: Columns = {
    "part": lambda part: str(part["key"]) + (" (default)" if part["is_default"] else ""),
    "file": lambda part: str(part["file"]),
    "what it is": lambda part: f"{str(part['format']).upper()}, {str(part['task']).replace('_', ' ')}",
    "size": lambda part: _size(part),
    "description": lambda part: str(part["description"] or ""),
}


@dataclass(frozen=True, slots=True)
class Reference:
    """A model, or one version of it, as it is written: `iris`, `iris@3`, `iris@champion`."""

    model: str
    version: str | None

    @classmethod
    def read(cls, text: str) -> "Reference":
        """Raises `CommandFailed` where nothing stands on one side of the `@`."""
        model, at, version = text.partition("@")
        if not model or (at and not version.lstrip("@")):
            raise CommandFailed(
                f"{text!r} is no NAME[@VERSION]: write iris, iris@3, iris@latest or iris@champion.",
                exit_status=Exit.USAGE,
            )
        is_plain = version.isdecimal() or version == "latest" or version.startswith(("sha256:", "@"))
        return cls(model, (version if is_plain else f"@{version}") if at else None)

    @property
    def path(self) -> str:
        """The model's resource."""
        return f"{MODELS}/{quote(self.model, safe='')}"

    @property
    def version_path(self) -> str:
        """The version's resource; the newest ready one where none is named."""
        return f"{self.path}/versions/{quote(self.version or 'latest', safe=':@')}"


def show_model(platform: Platform, text: str, output: Output) -> None:
    """A model with its versions, or one version with its inputs and outputs. Raises `CommandFailed`."""
    asked = Reference.read(text)
    if asked.version is not None:
        _show_version(platform.get(asked.version_path), output)
        return
    model = platform.get(asked.path)
    output.sheet(model, _about(model))
    if not output.is_for_scripts:
        output.data("")
        versions = list(platform.items(f"{asked.path}/versions", page_size=500))
        output.rows(versions, VERSIONS, "No versions yet: upload one with `portside models upload FILE`.")


def _about(model: Document) -> Mapping[str, str]:
    aliases = ", ".join(f"@{alias} is {number}" for alias, number in model["aliases"].items())
    return {
        "model": str(model["name"]),
        "called": str(model.get("display_name") or ""),
        "description": str(model.get("description") or ""),
        "tags": ", ".join(model["tags"]),
        "aliases": aliases,
        "made": f"{age_in_words(model['created_at'])} ago",
    }


def _show_version(version: Document, output: Output) -> None:
    facts = {
        "version": f"{version['model']}@{version['version']}",
        "status": f"{version['status']} {version.get('message') or ''}".strip(),
        "what it is": overview_in_words(version),
        "aliases": " ".join(f"@{alias}" for alias in version.get("aliases") or ()),
        "description": str(version.get("description") or ""),
        "tags": ", ".join(version.get("tags") or ()),
        "size": _size(version),
        "digest": str(version["digest"] or ""),
        "from": str(version.get("source_uri") or ""),
        "made": f"{age_in_words(version['created_at'])} ago",
    }
    output.sheet(version, facts)
    if output.is_for_scripts:
        return
    if parts := version.get("parts"):
        output.data("")
        output.rows(parts, PARTS, "")
    if rows := field_rows(version):
        output.data("")
        output.table(FIELD_COLUMNS, rows)


def _size(version: Document) -> str:
    """Nothing while it is being fetched."""
    return "" if version["size_bytes"] is None else size_in_words(int(version["size_bytes"]))


def upload_model(
    platform: Platform, artifact: Artifact, model: str, output: Output, *, wait_s: float | None, features: Features
) -> None:
    """Make a version of a file, unless a ready one has these bytes, and print it. Raises `CommandFailed`."""
    made = made_version(platform, artifact, model, output, wait_s=wait_s)
    if "target" not in made:
        made = name_features(platform, made, features, output)
    elif features:
        version = platform.get(f"{MODELS}/{quote(model, safe='')}/versions/{made['target']['name']}")
        name_features(platform, version, features, output)
    if output.is_for_scripts:
        output.document(made)
    else:
        output.data(str(made["id"]) if "target" in made else f"{made['model']}@{made['version']}")


def made_version(
    platform: Platform, artifact: Artifact, model: str, output: Output, *, wait_s: float | None
) -> Document:
    """The ready version that is made of it (its operation when nobody waits). Raises `CommandFailed`."""
    if artifact.url is None:
        return ready_version(platform, artifact.file, model, output, wait_s=wait_s)
    versions = f"{MODELS}/{quote(model, safe='')}/versions"
    operation = operation_of(platform, platform.call("POST", versions, {"source_uri": artifact.url}))
    if wait_s is None:
        return operation
    wait_for(platform, operation, wait_s, output)
    version = platform.get(f"{versions}/{operation['target']['name']}")
    output.say(f"Fetched {_size(version)} as version {version['version']} of {model}: {overview_in_words(version)}")
    return version


def ready_version(platform: Platform, file: Path, model: str, output: Output, *, wait_s: float | None) -> Document:
    """The ready version with these bytes: one that is there, or a new one (its operation when nobody waits)."""
    versions = f"{MODELS}/{quote(model, safe='')}/versions"
    known = platform.find(f"{versions}/{digest_of(file)}")
    if known is not None and known["status"] == "ready":
        output.say(f"Version {known['version']} of {model} has the same bytes: nothing to upload.")
        return known
    began = time.monotonic()
    operation = operation_of(platform, send_watched(platform, file, model, output))
    number = operation["target"]["name"]
    size = size_in_words(file.stat().st_size)
    output.say(f"Uploaded {size} as version {number} of {model} in {seconds_in_words(time.monotonic() - began)}")
    if wait_s is None:
        return operation
    wait_for(platform, operation, wait_s, output)
    version = platform.get(f"{versions}/{number}")
    output.say(f"Inspected: {overview_in_words(version)}")
    return version


def name_features(platform: Platform, version: Document, features: Features, output: Output) -> Document:
    """The version with these names for the places of its vectors; the same one where it has them.

    Raises `CommandFailed`.
    """
    if not features or version.get("features") == features:
        return version
    path = f"{MODELS}/{version['model']}/versions/{version['version']}"
    changed = platform.call("PATCH", path, {"features": features}).document
    output.say(f"Named the places of {', '.join(features)}")
    return changed


def delete_model(platform: Platform, text: str, output: Output) -> None:
    """Delete a model with all its versions, or one version. Raises `CommandFailed`."""
    asked = Reference.read(text)
    if asked.version is None:
        platform.call("DELETE", asked.path)
        output.say(f"The model {asked.model} is deleted.")
    else:
        version = platform.get(asked.version_path)
        platform.call("DELETE", f"{asked.path}/versions/{version['version']}")
        output.say(f"Version {version['version']} of {asked.model} is deleted.")


def services_of(platform: Platform, text: str) -> Sequence[str]:
    """The services that would be deleted with a model. Raises `CommandFailed`, also for one version."""
    asked = Reference.read(text)
    if asked.version is not None:
        raise CommandFailed(f"--cascade is for a whole model: say {asked.model}.", exit_status=Exit.USAGE)
    return list(platform.call("DELETE", asked.path, query={**CASCADE, "dry_run": "true"}).document["services"])


def delete_with_services(
    platform: Platform, model: str, services: Sequence[str], output: Output, *, wait_s: float
) -> None:
    """Delete a model and the services that use it, which must be these, and wait for it where `wait_s` is more than
    zero. Raises `CommandFailed`."""
    wanted = {**CASCADE, "services": ",".join(services)}
    operation = operation_of(platform, platform.call("DELETE", Reference.read(model).path, query=wanted))
    if not wait_s and not operation["done"]:
        output.data(str(operation["id"]))
        return
    gone = wait_for(platform, operation, wait_s, output)["result"].get("services", ())
    too = f", and the {services_in_words([each['name'] for each in gone])}" if gone else ""
    output.say(f"The model {model} is deleted{too}.")


def services_in_words(names: Sequence[str]) -> str:
    """`service iris`, `services iris, rose`."""
    return f"{'service' if len(names) == 1 else 'services'} {', '.join(names)}"


def set_alias(platform: Platform, text: str, alias: str, output: Output) -> None:
    """Let an alias name a version from now on, the newest ready one where none is named. Raises `CommandFailed`."""
    asked, name = Reference.read(text), alias.removeprefix("@")
    path = f"{asked.path}/aliases/{quote(name, safe='')}"
    model = platform.call("PUT", path, {"version": asked.version or "latest"}).document
    if output.is_for_scripts:
        output.document(model)
    output.say(f"{asked.model}@{name} is version {model['aliases'][name]}.")


def remove_alias(platform: Platform, text: str, alias: str, output: Output) -> None:
    """Forget an alias. Raises `CommandFailed`."""
    asked, name = Reference.read(text), alias.removeprefix("@")
    platform.call("DELETE", f"{asked.path}/aliases/{quote(name, safe='')}")
    output.say(f"{asked.model}@{name} is gone.")
