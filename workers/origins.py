"""Where a dataset's data come from: a URL, an object of a bucket, or a file below a folder that the operator opened.

A bucket's object is fetched as a URL is, by a signature that is made here: with the same guard, limits and resumption.
"""

import asyncio
import json
import os
import re
import stat
import sys
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from core.errors import FieldProblem, Rejected, TooLarge
from core.settings import Settings
from storage.access import S3Access, is_within
from storage.base import Stored
from storage.open import sign_object
from workers.addresses import Guard
from workers.fetching import (
    POINTER,
    Limits,
    Pour,
    Poured,
    SourceChanged,
    SourceForbidden,
    SourceRefused,
    Told,
    Watch,
    fetch_into,
)
from workers.resources import Resources

S3_URI: Final = re.compile(r"s3://([^/]+)/(.+)", re.DOTALL)
CREDENTIALS: Final = "dataset credentials"  # what they are sealed for
PIECE_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class WebOrigin:
    """A URL, perhaps signed, and what may be reached by it; `is_signed` by keys that may not suffice."""

    url: str
    guard: Guard
    is_signed: bool = False


@dataclass(frozen=True, slots=True)
class FileOrigin:
    """A file of this machine that may be read: by its real path, without links."""

    path: Path
    roots: tuple[Path, ...]
    closed: tuple[Path, ...] = ()  # the platform's own folders: a root around them does not open them


Origin = WebOrigin | FileOrigin


def origin_of(uri: str, credential_sealed: str | None, resources: Resources) -> Origin:
    """What a dataset's `source_uri` means here. Raises `SourceForbidden`, `SourceRefused`."""
    settings, scheme = resources.settings, uri.partition("://")[0].lower()
    if scheme == "s3":
        return _bucket(uri, credential_sealed, resources)
    if scheme == "file":
        return _file(uri, settings)
    return WebOrigin(uri, source_guard(settings))


def source_guard(settings: Settings) -> Guard:
    """What sources may reach."""
    return Guard.of(settings.opens_private_sources, settings.host, "PORTSIDE_ALLOW_PRIVATE_SOURCES")


def limits_of(settings: Settings) -> Limits:
    """What one dataset may take."""
    return Limits(settings.max_dataset_bytes, settings.source_timeout_s, setting="PORTSIDE_MAX_DATASET_BYTES")


async def bring(origin: Origin, resources: Resources, watch: Watch, pinned: str | None = None) -> tuple[Stored, Told]:
    """Put what is there into the store; with `pinned` only the very file that was described.

    Raises as `fetch_into` does.
    """
    limit = resources.settings.max_dataset_bytes

    async def put(pieces: AsyncGenerator[bytes, None]) -> Stored:
        return await resources.store.put(pieces, max_bytes=limit)

    return await poured(origin, put, resources, watch, pinned)


async def poured(
    origin: Origin, pour: Pour[Poured], resources: Resources, watch: Watch, pinned: str | None = None
) -> tuple[Poured, Told]:
    """Pour what is there into something; and what is told of it."""
    limits = limits_of(resources.settings)
    if isinstance(origin, FileOrigin):
        return await _pour_file(origin, pour, limits, watch, pinned)
    try:
        return await fetch_into(origin.url, pour, limits, origin.guard, watch, pinned=pinned)
    except SourceRefused as error:
        if not origin.is_signed:
            raise
        hint = "look at the bucket, the key, the region and what the keys may read"
        refused = _refused(SourceRefused, error.message.partition(";")[0], hint)
        refused.extensions = error.extensions
        raise refused from error


def _bucket(uri: str, credential_sealed: str | None, resources: Resources) -> WebOrigin:
    settings, found = resources.settings, S3_URI.fullmatch(uri)
    if found is None or not {".", ".."}.isdisjoint(found[2].split("/")):
        raise _refused(SourceRefused, "this names no object of a bucket", "write it as s3://BUCKET/KEY")
    bucket, key = found.groups()
    if credential_sealed is None:
        _check_open(f"{bucket}/{key}", settings)
        access, guard = S3Access.of(settings), Guard("all", "")  # the operator's own server may be anywhere
    else:
        said = json.loads(resources.vault.open(credential_sealed, CREDENTIALS))
        endpoint = said.get("endpoint") or f"https://s3.{said['region']}.amazonaws.com"
        access = S3Access(endpoint, said["region"], said["access_key"], said["secret_key"], said.get("session_token"))
        guard = source_guard(settings)
    lasts = timedelta(seconds=settings.source_timeout_s + 60)
    try:
        return WebOrigin(sign_object(bucket, key, access, lasts), guard, is_signed=True)
    except ValueError as error:
        raise _refused(SourceRefused, f"the source cannot be asked for: {error}") from error


def _check_open(path: str, settings: Settings) -> None:
    """The installation's own keys open what the operator has opened, and never what it keeps for its tenants."""
    own = urlsplit(settings.artifacts)
    is_own = own.scheme == "s3" and is_within(path, f"{own.netloc}{own.path}")
    if is_own or not any(is_within(path, place) for place in settings.source_buckets):
        detail = f"s3://{path[:200]} is not open to this platform's own keys (PORTSIDE_SOURCE_BUCKETS)"
        raise _refused(SourceForbidden, detail, "make the dataset with 'credentials' of your own")


def _file(uri: str, settings: Settings) -> FileOrigin:
    path, roots = Path(unquote(urlsplit(uri).path)), tuple(Path(root).resolve() for root in settings.file_roots)
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:  # in Python 3.11 a loop of links is a RuntimeError
        raise _not_there(path) from error
    origin = FileOrigin(real, roots, _own_folders(settings))
    if not _is_inside(real, origin):
        # As one that is not there: what lies elsewhere is nobody's business.
        raise _not_there(path)
    return origin


def _own_folders(settings: Settings) -> tuple[Path, ...]:
    """Where keys, the database and everybody's data are."""
    found, own = [settings.data.resolve()], urlsplit(settings.artifacts)
    if own.scheme == "file":
        found.append(Path(unquote(own.path)).resolve())
    return tuple(found)


def open_file(origin: FileOrigin) -> tuple[int, Told]:
    """A descriptor of the very file, and what is told of it. Raises `SourceRefused`.

    What was no link when the path was looked at may be one by now: what was opened is looked at again.
    """
    try:
        descriptor = os.open(origin.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _not_there(origin.path) from error
    found = os.fstat(descriptor)
    is_here = sys.platform != "linux" or _is_inside(Path(f"/proc/self/fd/{descriptor}").readlink(), origin)
    if not stat.S_ISREG(found.st_mode) or not is_here:
        os.close(descriptor)
        raise _not_there(origin.path)
    return descriptor, _told_of(found)


def _told_of(found: os.stat_result) -> Told:
    return Told(f'"{found.st_mtime_ns:x}-{found.st_size:x}"', found.st_size)


def _check_pinned(origin: FileOrigin, pinned: str | None, told: Told) -> None:
    if pinned is not None and told.etag != pinned:
        detail = f"{origin.path} is not the file any more that was described"
        raise _refused(SourceChanged, detail, "make the dataset again")


async def _pour_file(
    origin: FileOrigin, pour: Pour[Poured], limits: Limits, watch: Watch, pinned: str | None
) -> tuple[Poured, Told]:
    descriptor, told = await asyncio.to_thread(open_file, origin)
    try:
        _check_pinned(origin, pinned, told)
        if (told.total_bytes or 0) > limits.max_bytes:
            detail, hint = (
                f"the file is larger than the limit of {limits.max_bytes} bytes",
                f"have {limits.setting} raised",
            )
            problem = FieldProblem(POINTER, detail, hint)
            raise TooLarge(f"{detail}; {hint}", fields=[problem], limit_bytes=limits.max_bytes)
        found = await pour(_pieces(descriptor, told.total_bytes, watch))
        _check_pinned(origin, pinned, _told_of(os.fstat(descriptor)))  # nobody has written to it meanwhile
        return found, told
    finally:
        os.close(descriptor)


async def _pieces(descriptor: int, total_bytes: int | None, watch: Watch) -> AsyncGenerator[bytes, None]:
    at = 0
    read: Callable[[int], bytes] = partial(os.pread, descriptor, PIECE_BYTES)
    while piece := await asyncio.to_thread(read, at):
        at += len(piece)
        yield piece
        await watch(at, total_bytes)


def _is_inside(path: Path, origin: FileOrigin) -> bool:
    return any(path.is_relative_to(root) and not _is_closed(path, root, origin.closed) for root in origin.roots)


def _is_closed(path: Path, root: Path, closed: tuple[Path, ...]) -> bool:
    """A root inside of a closed folder is one that the operator means."""
    return any(own.is_relative_to(root) and path.is_relative_to(own) for own in closed)


def _not_there(path: Path) -> Rejected:
    detail = f"there is no file {str(path)[:200]} in a folder that is open here"
    return _refused(SourceRefused, detail, "PORTSIDE_FILE_ROOTS names the folders; links must not lead out of them")


def _refused(error: type[Rejected], detail: str, hint: str = "") -> Rejected:
    return error(f"{detail}; {hint}" if hint else detail, fields=[FieldProblem(POINTER, detail, hint)])
