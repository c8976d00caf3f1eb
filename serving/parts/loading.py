"""The models of an archive by their keys: described and proven by an inspection, loaded by a replica.

One part's file at a time is unpacked, beside nothing else, and gone as soon as its model is in memory.
"""

import mmap
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec

from serving.engines.base import InvalidModel
from serving.engines.open import detect_format
from serving.features import UnfitFeatures, with_names
from serving.loading import Described, Loaded, load_scorer, open_model, prove, warmed_up
from serving.parts.archive import MIB, Archive, Entry, opened
from serving.parts.manifest import NAME as MANIFEST
from serving.parts.manifest import NamedPart, read_manifest
from serving.problems import shorten
from serving.score import Identity
from serving.signature import Format, Part, Signature

LARGEST_UNPACKED_BYTES: Final = 4096 * MIB  # of all parts together
# Of a part's sample with its answer: what is found in 32 parts travels together. The whole has that of its default one.
LARGEST_SAMPLE_BYTES: Final = 64 * 1024
ZIP_MAGIC: Final = b"PK\x03\x04"


@dataclass(frozen=True, slots=True)
class LoadedParts:
    """The model that answers where no part is named, and each by its key; there are none in a file of one model."""

    default: Loaded
    by_key: dict[str, Loaded]


def is_archive_of_parts(path: Path) -> bool:
    """Whether a file is a zip archive in which the manifest's name stands, as in its directory at the end."""
    try:
        with path.open("rb") as file:
            if file.read(len(ZIP_MAGIC)) != ZIP_MAGIC:
                return False
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                return mapped.rfind(MANIFEST.encode()) >= 0
    except OSError:
        return False  # who opens it to serve it says why


def inspect_parts(path: Path, threads: int) -> Signature:
    """The signature of the default part with those of all parts, each proven. Raises `InvalidModel`."""
    with opened(path) as archive:
        manifest = read_manifest(archive)
        _check_size(archive, manifest.parts)
        parts = tuple(
            _inspect(archive, part, threads, is_default=part.key == manifest.default) for part in manifest.parts
        )
    default = next(part for part in parts if part.is_default)
    return replace(default.signature, parts=tuple(map(_without_large_sample, parts)))


def load_parts(path: Path, signature: Signature | None, identity: Identity, threads: int) -> LoadedParts:
    """The model of a file, or all those of an archive, warmed up. Raises `InvalidModel`."""
    if not _has_parts(path, signature):
        return LoadedParts(load_scorer(path, signature, identity, threads), {})
    loaded: dict[str, Loaded] = {}
    with opened(path) as archive:
        manifest = read_manifest(archive)
        _check_size(archive, manifest.parts)
        for part in manifest.parts:
            loaded[part.key] = _load(archive, part, signature, identity, threads)
    return LoadedParts(loaded[manifest.default], loaded)


def load_part(path: Path, signature: Signature | None, key: str | None, identity: Identity, threads: int) -> Loaded:
    """The one model that is asked: that of a file, or the named or default one of an archive. Raises `InvalidModel`."""
    if not _has_parts(path, signature):
        if key is not None:
            raise InvalidModel("unknown_part", "the file is one model, without parts", "Name no part.")
        return load_scorer(path, signature, identity, threads)
    with opened(path) as archive:
        manifest = read_manifest(archive)
        wanted = key or manifest.default
        part = next((part for part in manifest.parts if part.key == wanted), None)
        if part is None:
            known = ", ".join(part.key for part in manifest.parts)
            raise InvalidModel("unknown_part", f"the archive has no part {shorten(wanted)!r}", f"Its parts: {known}.")
        return _load(archive, part, signature, identity, threads)


def formats_within(path: Path, signature: Signature | None = None) -> set[Format]:
    """The format of a model file, or those of an archive's parts; nothing is unpacked where an inspection has found it.

    Raises `InvalidModel`.
    """
    if signature is not None:
        return {part.signature.format for part in signature.parts or ()} or {signature.format}
    if not is_archive_of_parts(path):
        return {detect_format(path)}
    found: set[Format] = set()
    with opened(path) as archive:
        for part in read_manifest(archive).parts:
            with _unpacked(archive, part) as (file, _, _):
                found.add(detect_format(file))
    return found


def _has_parts(path: Path, signature: Signature | None) -> bool:
    return is_archive_of_parts(path) if signature is None else signature.parts is not None


def _check_size(archive: Archive, parts: tuple[NamedPart, ...]) -> None:
    total_bytes = sum(archive.entry(part.file).size_bytes for part in parts)
    if total_bytes > LARGEST_UNPACKED_BYTES:
        message = f"the parts have {total_bytes} bytes together; those of one version may have 4 GiB"
        raise InvalidModel("archive_too_large", message, "Make several versions or models of them.")


def _inspect(archive: Archive, named: NamedPart, threads: int, *, is_default: bool) -> Part:
    with _unpacked(archive, named) as (file, entry, digest):
        described = _opened_as_named(file, named, threads)
        file.unlink()  # the engine has read it: no room is held while it answers
        signature = prove(described, Identity(named.key, named.key, named.key, "1"))
        described.model.close()
    part = Part(
        key=named.key,
        file=named.file,
        digest=digest,
        size_bytes=entry.size_bytes,
        offset_bytes=entry.offset_bytes,
        packed_bytes=entry.packed_bytes,
        is_deflated=entry.is_deflated,
        signature=signature,
        is_default=is_default,
        description=named.description,
    )
    return part if is_default else _without_large_sample(part)


def _without_large_sample(part: Part) -> Part:
    signature = part.signature
    if len(msgspec.json.encode([signature.sample, signature.sample_output])) <= LARGEST_SAMPLE_BYTES:
        return part
    return replace(part, signature=replace(signature, sample=None, sample_output=None))


def _load(archive: Archive, named: NamedPart, signature: Signature | None, identity: Identity, threads: int) -> Loaded:
    found, identity = _signature_of(signature, named.key), replace(identity, part=named.key)
    with _unpacked(archive, named) as (file, _, _):
        described = _opened_as_named(file, named, threads) if found is None else open_model(file, found, threads)
        file.unlink()
        return warmed_up(described, identity)


def _opened_as_named(file: Path, named: NamedPart, threads: int) -> Described:
    """A part's model, described with the names that the manifest gives to the places of its inputs."""
    described = open_model(file, None, threads)
    if not named.features:
        return described
    try:
        return Described(with_names(described.signature, named.features), described.model)
    except UnfitFeatures as error:
        hint = f'Correct its features in {MANIFEST}: {{"float_input": ["age", "height"]}}.'
        raise InvalidModel("features_do_not_fit", f"its features do not fit: {error}", hint) from error


def _signature_of(signature: Signature | None, key: str) -> Signature | None:
    """What an inspection has found of a part; what is said of the version holds for its default one."""
    if signature is None:
        return None
    part = next(part for part in signature.parts or () if part.key == key)
    return replace(signature, parts=None) if part.is_default else part.signature


@contextmanager
def _unpacked(archive: Archive, named: NamedPart) -> Iterator[tuple[Path, Entry, str]]:
    """A part's file, for as long as its model is read from it. What its engine refuses names the part."""
    entry = archive.entry(named.file)
    with tempfile.TemporaryDirectory(prefix="portside-part-") as folder:
        file = Path(folder) / named.key
        digest = archive.unpack(entry, file)
        try:
            yield file, entry, digest
        except InvalidModel as error:
            message = f"the part {named.key!r} ({named.file}) cannot be served: {error.message}"
            raise InvalidModel(error.code, message, error.hint) from error
