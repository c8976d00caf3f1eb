"""The data folder: made private, held by one process at a time.

`lock` holds the process id of the holder, `address` its URL while it answers.
"""

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType

from cli.failure import CommandFailed

# A killed process keeps its lock until the kernel has taken its memory apart, and who starts it again may be quicker.
PATIENCE_S, LOOK_S = 1.0, 0.01
CHOOSE = "choose another with --data DIR or PORTSIDE_DATA."


class FolderUnusable(CommandFailed):
    """The data folder cannot be used."""


class FolderInUse(FolderUnusable):
    """Another process, `holder`, has the folder; 0 where it cannot be told."""

    def __init__(self, message: str, holder: int) -> None:
        super().__init__(message)
        self.holder = holder


class DataFolder:
    """The folder and its lock, which the kernel frees when the process ends, however it ends."""

    def __init__(self, path: Path, *, patience_s: float = PATIENCE_S) -> None:
        """Make the folder and take its lock, waiting so long for a holder that is ending. Raises `FolderUnusable`."""
        self.path = path.absolute()
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise self._not_writable(error.strerror or str(error)) from error
        try:
            self._hold(time.monotonic() + patience_s)
        except FolderUnusable:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> "DataFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    @property
    def address(self) -> Path:
        """The file with the URL."""
        return self.path / "address"

    def release(self) -> None:
        """Let another process have the folder."""
        self.address.unlink(missing_ok=True)
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)

    def _hold(self, give_up_at: float) -> None:
        try:
            _lock(self._descriptor, give_up_at)
        except OSError as error:
            holder = os.pread(self._descriptor, 20, 0).decode(errors="replace").strip()
            who = f"process {holder}" if holder else "another process"
            message = f"The data folder {self.path} is in use by another portside ({who}): stop that one, or {CHOOSE}"
            raise FolderInUse(message, int(holder) if holder.isdigit() else 0) from error
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise self._not_writable("Permission denied")
        # An address that a killed holder has left goes before our process id comes: who reads the id, then the address,
        # never takes the old one for ours.
        self.address.unlink(missing_ok=True)
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)

    def _not_writable(self, why: str) -> FolderUnusable:
        return FolderUnusable(f"The data folder {self.path} cannot be written ({why}): {CHOOSE}")


def _lock(descriptor: int, give_up_at: float) -> None:
    """Take the lock as soon as it is free. Raises `OSError` where it is not by then."""
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= give_up_at:
                raise
            time.sleep(LOOK_S)
        else:
            return


def address_of(folder: Path, pid: int) -> str | None:
    """The URL of the platform that this process runs on the folder, once it answers."""
    try:
        if (folder / "lock").read_text("utf-8").strip() != str(pid):
            return None
        return (folder / "address").read_text("utf-8").strip() or None
    except OSError:
        return None
