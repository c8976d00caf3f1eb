"""The config files of a replica: in its own folder before its process starts, and gone with it."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

READ_ONLY, PRIVATE = 0o400, 0o700


def write_config_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write texts by their paths into a new folder, which is there also without any. Raises OSError."""
    folder.mkdir(mode=PRIVATE)
    for path, content in files.items():
        file = folder / path
        _make_folders(folder, file.parent)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, READ_ONLY), "wb") as out:
            out.write(content.encode())


async def lay_out(folder: Path, files: Mapping[str, str]) -> None:
    """The same beside the event loop. Who is cancelled meanwhile leaves when nothing is written any more: a folder that
    is removed must not come again, with secrets in it."""
    writing = asyncio.ensure_future(asyncio.to_thread(write_config_files, folder, files))
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.gather(writing, return_exceptions=True)
        raise


def _make_folders(root: Path, folder: Path) -> None:
    """Each with the mode of the root: `mkdir(parents=True)` gives it to the last one only."""
    for each in reversed([folder, *folder.parents]):
        if each.is_relative_to(root):
            each.mkdir(mode=PRIVATE, exist_ok=True)
