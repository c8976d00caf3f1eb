"""The files that take what replicas and runs print: bounded in size and age, read from their end.

A replica holds its file open for append, so the file is copied away and cut, never renamed.
"""

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Collection, Coroutine
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

MOST_BYTES = 10_000_000
PIECE_BYTES = 65_536


def log_path(data: Path, replica_id: str) -> Path:
    """The file that takes the output of a replica."""
    return data.absolute() / "logs" / "replicas" / f"{replica_id}.log"


def run_log_path(data: Path, run_id: str) -> Path:
    """The file that takes the output of all processes of a run."""
    return data.absolute() / "logs" / "runs" / f"{run_id}.log"


def older_part(path: Path) -> Path:
    """Where the earlier output lies once the file was cut."""
    return path.with_suffix(".log.1")


def cap(path: Path) -> None:
    """Cut a file that has grown too large; its last 10 MB stay in the older part."""
    with suppress(FileNotFoundError):
        if path.stat().st_size <= MOST_BYTES:
            return
        with path.open("r+b") as log, older_part(path).open("wb") as older:
            log.seek(-MOST_BYTES, os.SEEK_END)
            shutil.copyfileobj(log, older)
            log.truncate(0)


def prune(folder: Path, living: Collection[Path], kept_for: timedelta, now_s: float | None = None) -> None:
    """Remove the files that nobody has written to for so long, except those of who lives."""
    oldest = (time.time() if now_s is None else now_s) - kept_for.total_seconds()
    for path in folder.glob("*.log*"):
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < oldest and path.with_suffix("") not in living and path not in living:
                path.unlink()


def read_from(path: Path, offset: int, most_bytes: int) -> bytes:
    """The bytes from an offset on; nothing when there is no such file."""
    try:
        with path.open("rb") as log:
            log.seek(offset)
            return log.read(most_bytes)
    except FileNotFoundError:
        return b""


def read_added(path: Path, offset: int) -> tuple[bytes, int]:
    """What stands after an offset, and the offset after it; a file that was cut meanwhile is read from its start."""
    start = offset if _size(path) >= offset else 0
    text = read_from(path, start, PIECE_BYTES)
    return text, start + len(text)


def read_tail(path: Path, tail_bytes: int) -> tuple[bytes, int]:
    """The last bytes, the older part included and not beginning within a line, and the offset where they end."""
    size = _size(path)
    text = read_from(path, max(0, size - tail_bytes), tail_bytes)
    end, missing = max(0, size - tail_bytes) + len(text), tail_bytes - len(text)
    older_bytes = _size(older_part(path))
    if size < tail_bytes and older_bytes:
        text = read_from(older_part(path), max(0, older_bytes - missing), missing) + text
    if size + older_bytes > tail_bytes:
        text = text.partition(b"\n")[2] or text
    return text, end


def last_lines(path: Path, lines: int, most_bytes: int = 4000) -> str:
    """The last lines as text; PostgreSQL keeps no NUL."""
    text, _ = read_tail(path, most_bytes)
    return "\n".join(text.replace(b"\0", b" ").decode(errors="replace").rstrip().splitlines()[-lines:])


async def until(pieces: AsyncIterator[bytes], end: Coroutine[None, None, object]) -> AsyncIterator[bytes]:
    """The pieces of a log that is followed, as they come, until they end or `end` does."""
    ending = asyncio.create_task(end)
    piece: asyncio.Future[bytes | None] | None = None
    try:
        while True:
            piece = asyncio.ensure_future(anext(pieces, None))
            await asyncio.wait({piece, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not piece.done() or (found := piece.result()) is None:
                return
            yield found
    finally:
        leaving = [each for each in (piece, ending) if each is not None and not each.done()]
        for each in leaving:
            each.cancel()
        await asyncio.gather(*leaving, return_exceptions=True)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
