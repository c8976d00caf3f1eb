"""Folders for what children unpack and print, below the data folder: there is room, unlike in a /tmp in memory.

One is locked as long as its process lives: what a killed process leaves behind goes when the next one is opened.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

NAME = "scratch"


class Scratch:
    """An empty folder (0700) of this process."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path, self._lock = path, lock

    def remove(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def open_scratch(data: Path) -> Scratch:
    """A folder below this data folder; those of dead processes are removed. Raises `OSError`."""
    base = data.absolute() / NAME  # children have other current folders
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _swept(base):
        path = Path(tempfile.mkdtemp(dir=base))
        return Scratch(path, _locked(path))


@contextmanager
def scratch_folder(data: Path) -> Iterator[Path]:
    """A folder for the length of the block. Raises `OSError`."""
    scratch = open_scratch(data)
    try:
        yield scratch.path
    finally:
        scratch.remove()


def sweep_scratch(data: Path) -> None:
    """Remove what dead processes have left, also where no room is left to make a folder. Raises `OSError`."""
    base = data.absolute() / NAME
    if base.is_dir():
        with _swept(base):
            pass


@contextmanager
def _swept(base: Path) -> Iterator[None]:
    """Without what dead processes have left; nobody else sweeps a folder here between its making and its locking."""
    alone = os.open(base, os.O_RDONLY)
    try:
        fcntl.flock(alone, fcntl.LOCK_EX)
        for left in base.iterdir():
            _remove_if_left(left)
        yield
    finally:
        os.close(alone)


def _locked(path: Path) -> int:
    """A descriptor that holds the folder's lock. Raises `BlockingIOError` where a living process has it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _remove_if_left(path: Path) -> None:
    # Not there: its owner has removed it meanwhile.
    with suppress(BlockingIOError, FileNotFoundError):
        Scratch(path, _locked(path)).remove()
