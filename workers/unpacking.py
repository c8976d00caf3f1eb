"""Archives of files: unpacked by `serving data unpack` in a child with limits, then put into the store one by one."""

import asyncio
import mimetypes
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from core.errors import FieldProblem, Json, StoreUnavailable
from state.blobs import touch_blobs
from state.creating import NewFile
from storage.digests import ALGORITHM
from workers.children import child_environment, run_child, serving_command
from workers.describing import REFUSED, Broken, DatasetInvalid, broken, read_answer, refusal_of
from workers.resources import Resources
from workers.scratch import scratch_folder

MOST_FILES: Final = 100_000
LONGEST_PATH: Final = 500
TOGETHER: Final = 500  # files that are recorded in one transaction
SIDE_BY_SIDE: Final = 16  # of them on their way into the store, which waits for the disk or the network with each
PIECE_BYTES: Final = 1024 * 1024
OCTETS: Final = "application/octet-stream"
TYPES: Final = mimetypes.MimeTypes()  # what Python brings, whatever this machine knows beside it

# Is told the next files, and whether they are the first ones.
Keep = Callable[[Sequence[NewFile], bool], Awaitable[None]]
Watch = Callable[[int, int | None], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What was in an archive."""

    files: int
    size_bytes: int


async def unpack(resources: Resources, archive: Path, keep: Keep, watch: Watch) -> Unpacked | Broken:
    """Put each file of the archive into the store and have it kept.

    Raises `DatasetInvalid` for an archive that could hurt, is damaged or too large, `StoreUnavailable`, what `keep` and
    `watch` raise.
    """
    settings = resources.settings
    limits = ["--most-files", str(MOST_FILES), "--most-bytes", str(settings.max_dataset_bytes)]
    limits += ["--memory-mb", str(settings.inspect_memory_mb)]
    with scratch_folder(settings.data) as scratch:
        folder = scratch / "files"
        end = await run_child(
            serving_command(settings, "data", "unpack", str(archive), str(folder), *limits),
            environment=child_environment(settings.cache, {"TMPDIR": str(scratch)}),
            stdin=b"",
            timeout_s=settings.source_timeout_s,
        )
        lines = end.stdout.splitlines()
        if end.exit_code == REFUSED:
            raise refusal_of(read_answer(lines[-1]), "/file")
        if end.exit_code != 0:
            return broken(end, settings.source_timeout_s, "the unpacking")
        listed = [read_answer(line) for line in lines]
        _check_paths(listed)
        return await _put_all(resources, folder, listed, keep, watch)


def _check_paths(listed: Sequence[dict[str, Json]]) -> None:
    """Raises `DatasetInvalid` for a file that could not be asked for."""
    for each in listed:
        path = str(each["path"])
        if len(path) > LONGEST_PATH or not all(0x20 <= ord(letter) != 0x7F for letter in path) or "\\" in path:
            detail = f"the archive's entry {path[:100]!a} has a name that no file may have here"
            hint = f"names have at most {LONGEST_PATH} characters, no backslash and no control characters"
            raise DatasetInvalid(f"{detail}; {hint}", fields=[FieldProblem("/file", detail, hint)])


async def _put_all(
    resources: Resources, folder: Path, listed: Sequence[dict[str, Json]], keep: Keep, watch: Watch
) -> Unpacked:
    total = sum(int(str(each["size"])) for each in listed)
    done = 0
    for start in range(0, max(len(listed), 1), TOGETHER):
        files = [_as_file(each) for each in listed[start : start + TOGETHER]]
        await _put_some(resources, folder, files)
        await keep(files, start == 0)
        done += sum(file.size_bytes for file in files)
        await watch(done, total)
    return Unpacked(len(listed), total)


def _as_file(listed: dict[str, Json]) -> NewFile:
    path = str(listed["path"])
    return NewFile(path, f"{ALGORITHM}:{listed['sha256']}", int(str(listed["size"])), type_of(path))


async def _put_some(resources: Resources, folder: Path, files: Sequence[NewFile]) -> None:
    """Those with the same bytes once. Whatever fails, all of them are over then.

    Their rows are touched before their bytes come, for it is known which they will be: what was not being deleted then
    is not for as long as a blob may idle, and who refers to it looks at the row again (ARCHITECTURE, sentence 8).
    """
    different = {file.digest: file for file in files}
    async with resources.database.write() as session:
        await touch_blobs(session, {digest: file.size_bytes for digest, file in different.items()})
    waiting = iter(different.values())
    putting = (_put_each(resources, folder, waiting) for _ in range(min(SIDE_BY_SIDE, len(different))))
    for ended in await asyncio.gather(*putting, return_exceptions=True):
        if isinstance(ended, BaseException):
            raise ended


async def _put_each(resources: Resources, folder: Path, waiting: Iterator[NewFile]) -> None:
    for file in waiting:
        await _put(resources, folder, file)


async def _put(resources: Resources, folder: Path, file: NewFile) -> None:
    stored = await resources.store.put(_pieces(folder / file.path))
    if str(stored.digest) != file.digest:
        raise StoreUnavailable(f"the file {file.path[:200]!a} changed while it was unpacked; it is tried again")


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    handle, piece = await asyncio.to_thread(_first_piece, path)
    with handle:
        yield piece
        while len(piece) == PIECE_BYTES:
            piece = await asyncio.to_thread(handle.read, PIECE_BYTES)
            yield piece


def _first_piece(path: Path) -> tuple[BinaryIO, bytes]:
    """Of most files it is all, and takes one thread and not three."""
    handle = path.open("rb")
    try:
        return handle, handle.read(PIECE_BYTES)
    except OSError:
        handle.close()
        raise


def type_of(path: str) -> str:
    """The media type that the name of a file says."""
    return TYPES.guess_type(path, strict=True)[0] or OCTETS
