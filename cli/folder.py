"""The data folder: made private, held by one process at a time."""

import fcntl
import os
from pathlib import Path


class FolderUnusable(Exception):
    """The data folder cannot be used; the message is the one sentence for the user."""


class DataFolder:
    """The folder and its lock, which the kernel frees when the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        """Make the folder and take its lock. Raises `FolderUnusable`."""
        self.path = path.absolute()
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise FolderUnusable(
                f"The data folder {self.path} cannot be written ({error.strerror}): "
                "choose another with --data DIR or PORTSIDE_DATA."
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._descriptor)
            raise FolderUnusable(
                f"The data folder {self.path} is in use by another portside (process {holder}): "
                "stop that one, or choose another folder with --data DIR."
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Let another process have the folder."""
        os.close(self._descriptor)
