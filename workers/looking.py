"""A first look at data that stay where they are: as much of them as a description needs, in a scratch folder.

Of plain text that is the beginning; whatever is packed, or has its directory at the end, is looked at as a whole.
"""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path
from typing import Any, Final

from core.errors import DiskFull, FieldProblem, TooLarge
from state.queries.datasets import DatasetFacts
from workers.describing import Broken, DatasetInvalid, Description, describe
from workers.fetching import POINTER, SourceRefused, Told, Watch
from workers.origins import FileOrigin, Origin, open_file, poured
from workers.resources import Resources
from workers.scratch import scratch_folder

LOOK_BYTES: Final = 32 * 1024 * 1024
# Parquet, Arrow's file and stream, gzip, zstd: nothing that can be cut.
WHOLE: Final = (b"PAR1", b"ARROW1", b"\xff\xff\xff\xff", b"\x1f\x8b", b"\x28\xb5\x2f\xfd")


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found, and what the reference is pinned to."""

    description: Description
    etag: str
    size_bytes: int | None


async def look(origin: Origin, resources: Resources, facts: DatasetFacts, watch: Watch) -> Looked | Broken:
    """Describe what is there. Raises `DatasetInvalid`, what `poured` does, `DiskFull`."""
    if isinstance(origin, FileOrigin):
        return await _in_place(origin, resources, facts, watch)
    looked = await _fetched(origin, resources, facts, watch, LOOK_BYTES)
    if looked is None or isinstance(looked, Broken):
        looked = await _fetched(origin, resources, facts, watch, None)
    assert looked is not None
    return looked


async def _in_place(origin: FileOrigin, resources: Resources, facts: DatasetFacts, watch: Watch) -> Looked | Broken:
    async def nothing(pieces: AsyncGenerator[bytes, None]) -> None:
        """It is read where it is."""

    await poured(origin, nothing, resources, watch)
    descriptor, told = await asyncio.to_thread(open_file, origin)
    try:
        # By the descriptor: the path may lead to another file by the time at which a child opens it.
        very = Path(f"/proc/{os.getpid()}/fd/{descriptor}") if sys.platform == "linux" else origin.path
        return await _described(very, resources, facts, watch, told)
    finally:
        os.close(descriptor)


async def _fetched(
    origin: Origin, resources: Resources, facts: DatasetFacts, watch: Watch, most_bytes: int | None
) -> Looked | Broken | None:
    """Nothing where the beginning alone cannot be read: the cut may have gone through a row."""
    with scratch_folder(resources.settings.data) as folder:
        file = folder / "source"

        async def write(pieces: AsyncGenerator[bytes, None]) -> _Written:
            return await _write(file, pieces, most_bytes, resources.settings.max_dataset_bytes)

        written, told = await poured(origin, write, resources, watch)
        if written.is_whole:
            return await _described(file, resources, facts, watch, replace(told, total_bytes=written.size_bytes))
        try:
            return await _described(file, resources, facts, watch, told, written.size_bytes)
        except DatasetInvalid:
            return None


@dataclass(frozen=True, slots=True)
class _Written:
    size_bytes: int
    is_whole: bool


async def _write(file: Path, pieces: AsyncGenerator[bytes, None], most_bytes: int | None, limit: int) -> _Written:
    """The file's beginning, cut after its last whole line, or all of it."""
    at = 0
    with file.open("wb", buffering=0) as handle:
        async for piece in pieces:
            if at == 0 and piece.startswith(WHOLE):
                most_bytes = None
            _add(handle, piece)
            at += len(piece)
            if at > limit:
                raise TooLarge(f"more than {limit} bytes came")
            if most_bytes is not None and at >= most_bytes:
                return _Written(_cut(file, handle, at), is_whole=False)
    return _Written(at, is_whole=True)


def _add(handle: FileIO, piece: bytes) -> None:
    rest = memoryview(piece)
    try:
        while rest:
            rest = rest[handle.write(rest) :]
    except OSError as error:
        raise DiskFull(f"a source cannot be looked at: {error.strerror}; free some space") from error


def _cut(file: Path, handle: FileIO, at: int) -> int:
    back = min(at, 1024 * 1024)
    with file.open("rb") as reading:
        reading.seek(at - back)
        end = reading.read(back).rfind(b"\n")
    kept = at if end < 0 else at - back + end + 1
    handle.truncate(kept)
    return kept


async def _described(
    file: Path, resources: Resources, facts: DatasetFacts, watch: Watch, told: Told, written: int | None = None
) -> Looked | Broken:
    if told.etag is None:
        detail, hint = (
            "the source tells no ETag and no Last-Modified, to which a reference is pinned",
            "copy it instead",
        )
        raise SourceRefused(f"{detail}; {hint}", fields=[FieldProblem(POINTER, detail, hint)])

    async def hear(report: Mapping[str, Any]) -> None:
        await watch(int(report["bytes"]), written or told.total_bytes)

    found = await describe(resources, file, name=facts.filename, hints=facts.hints, watch=hear, pointer=POINTER)
    if isinstance(found, Broken):
        return found
    if written is not None:
        found = _estimated(found, written, told.total_bytes)
    return Looked(found, told.etag, told.total_bytes)


def _estimated(found: Description, seen_bytes: int, total_bytes: int | None) -> Description:
    """What the beginning of the file says of all of it."""
    rows = found.rows if total_bytes is None else round(found.rows * total_bytes / max(seen_bytes, 1))
    warning = f"described by its first {seen_bytes // 1_000_000} MB: types, counts and extremes are of these alone"
    return replace(found, rows=rows, rows_are_estimated=True, warnings=[*found.warnings, warning])
