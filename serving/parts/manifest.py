"""`portside.json`, which names the parts of an archive: read strictly, so that nothing that it says is ignored.

{"parts": {"de": "models/de.onnx", "fr": {"file": "models/fr.pmml", "description": "…"}}, "default": "de"}
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec

from serving.engines.base import InvalidModel
from serving.parts.archive import Archive
from serving.problems import shorten

NAME: Final = "portside.json"
LARGEST_BYTES: Final = 256 * 1024
MOST_PARTS: Final = 32
LONGEST_DESCRIPTION: Final = 2000
# As the names that come with an upload.
FeatureName = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
KEY: Final = re.compile(r"[a-z]([a-z0-9-]{0,46}[a-z0-9])?")  # as models and services are named
EXAMPLE: Final = '{"parts": {"de": "models/de.onnx", "fr": "models/fr.pmml"}, "default": "de"}'
_SHOWN_NAMES: Final = 10
_NO_TEXT: Final = re.compile("[\x00\ud800-\udfff]")  # neither UTF-8 nor PostgreSQL has them


@dataclass(frozen=True, slots=True)
class NamedPart:
    """What the manifest says of one part."""

    key: str
    file: str
    description: str | None = None
    features: Mapping[str, tuple[str, ...]] | None = None  # by input: names for the places of a vector


@dataclass(frozen=True, slots=True)
class Manifest:
    """The parts in the order of the manifest, and the key of the one that answers where none is named."""

    parts: tuple[NamedPart, ...]
    default: str


def read_manifest(archive: Archive) -> Manifest:
    """The manifest of an archive, whose files are there. Raises `InvalidModel`."""
    if NAME not in archive.names:
        raise _missing(archive.names)
    content = archive.read(NAME, LARGEST_BYTES)
    if content is None:
        raise _invalid(f"has more than {LARGEST_BYTES} bytes")
    document = _object(_parsed(content), "", ("parts", "default"))
    parts = document.get("parts")
    if not isinstance(parts, dict) or not parts:
        raise _invalid("has no 'parts': an object with a key for each model")
    if len(parts) > MOST_PARTS:
        raise _invalid(f"names {len(parts)} parts; a version has at most {MOST_PARTS}")
    named = tuple(_part(key, value) for key, value in parts.items())
    for part in named:
        if part.file not in archive.names:
            raise _no_file(part, archive.names)
    return Manifest(named, _default(document, named))


def _parsed(content: bytes) -> object:
    try:
        document = json.loads(content.decode("utf-8-sig"), object_pairs_hook=_once)
        texts = list(_texts(document))
    except (ValueError, RecursionError) as error:
        raise _invalid(f"is not JSON: {error}") from error
    for text in texts:
        if _NO_TEXT.search(text):
            raise _invalid(f"has {shorten(text)!r}, which cannot be kept: without NUL and halves of surrogate pairs")
    return document


def _texts(value: object) -> Iterator[str]:
    """All texts of a JSON document, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _texts(each)


def _once(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {shorten(key)!r} is given twice")
        found[key] = value
    return found


def _object(value: object, where: str, known: Sequence[str]) -> Mapping[str, object]:
    """A JSON object with no other members than these."""
    if not isinstance(value, dict):
        raise _invalid(f"has something else than an object {where or 'as a whole'}")
    for member in value:
        if member not in known:
            raise _invalid(f"has an unknown field {shorten(str(member))!r}{f' {where}' if where else ''}")
    return value


def _part(key: str, value: object) -> NamedPart:
    if KEY.fullmatch(key) is None:
        rule = "a key has 1 to 48 lower-case letters, digits and hyphens, and begins with a letter"
        raise _invalid(f"has the key {shorten(key)!r}; {rule}")
    if isinstance(value, str):
        return NamedPart(key, value)
    where = f"at the part {key!r}"
    about = _object(value, where, ("file", "description", "features"))
    file, description = about.get("file"), about.get("description")
    if not isinstance(file, str):
        raise _invalid(f"has no 'file' {where}")
    if description is not None and not (isinstance(description, str) and len(description) <= LONGEST_DESCRIPTION):
        raise _invalid(f"has a 'description' {where} that is no text of at most {LONGEST_DESCRIPTION} characters")
    return NamedPart(key, file, description, _features(about.get("features"), where))


def _features(value: object, where: str) -> Mapping[str, tuple[str, ...]] | None:
    if value is None:
        return None
    try:
        return msgspec.convert(value, dict[str, tuple[FeatureName, ...]])
    except msgspec.ValidationError as error:
        what = "no lists of names by input, each of 1 to 200 characters"
        raise _invalid(f"has 'features' {where} that are {what}: {error}") from error


def _default(document: Mapping[str, object], parts: Sequence[NamedPart]) -> str:
    keys = [part.key for part in parts]
    default = document.get("default", keys[0])
    if default not in keys:
        raise _invalid(f"has the default {shorten(str(default))!r}, which is none of its parts: {', '.join(keys)}")
    return str(default)


def _missing(names: Sequence[str]) -> InvalidModel:
    inside = next((name for name in names if name.endswith(f"/{NAME}")), None)
    if inside is not None:
        message = f"{NAME} is in the folder {shorten(inside.removesuffix(NAME))!r} of the archive, not at its root"
        return InvalidModel("manifest_missing", message, "Pack what is in the folder and not the folder itself.")
    message = f"the archive has no {NAME} at its root, which names the models in it"
    return InvalidModel("manifest_missing", message, f"Add one: {EXAMPLE}; or upload the model file itself.")


def _no_file(part: NamedPart, names: Sequence[str]) -> InvalidModel:
    others = [shorten(name) for name in names if name != NAME]
    shown = ", ".join(others[:_SHOWN_NAMES]) + (" …" if len(others) > _SHOWN_NAMES else "")
    message = f"{NAME} names {shorten(part.file)!r} as the part {part.key!r}, which is not in the archive"
    hint = f"It has: {shown}." if others else "It has no other file."
    return InvalidModel("part_missing", message, f"{hint} Write the path as the archive has it.")


def _invalid(what: str) -> InvalidModel:
    return InvalidModel("manifest_invalid", f"{NAME} {what}", f"Write it like {EXAMPLE}.")
