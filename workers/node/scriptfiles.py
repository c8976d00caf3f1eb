"""A script's files on this machine: what it reads is copied, what it leaves is looked at only once it is gone.

Its folders belong to it while it runs, so that everything in them is hostile: only plain files are taken, no link is
followed, and sizes are counted and not believed.
"""

import errno
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from workers.node.isolation import give_to, remove

MOST_FILES: Final = 10_000  # that one script leaves
LONGEST_PATH: Final = 500
MOST_ENTRIES: Final = 200_000  # in a script's folders
NOT_IN_KERNEL: Final = (errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM)
FOLDERS: Final = ("script", "inputs", "models", "outputs", "tmp", "home")


@dataclass(frozen=True, slots=True)
class ScriptPlace:
    """Where one process of a script lives: `desk` is ours, `folder` its own, `checkpoint` outlives it."""

    desk: Path
    folder: Path
    checkpoint: Path
    log_path: Path
    parent_fd: int

    @property
    def script(self) -> Path:
        """Where it works, and where its text is."""
        return self.folder / "script"

    @property
    def outputs(self) -> Path:
        """What lies here at its end becomes artifacts."""
        return self.folder / "outputs"

    @property
    def writable(self) -> tuple[Path, ...]:
        """What counts against its limit."""
        return self.script, self.outputs, self.folder / "tmp", self.folder / "home", self.checkpoint


@dataclass(frozen=True, slots=True)
class Use:
    """What is in some folders."""

    size_bytes: int
    entries: int


def make_folders(place: ScriptPlace) -> None:
    """The folders of a new process, empty but for its checkpoint."""
    place.log_path.parent.mkdir(parents=True, exist_ok=True)
    place.desk.mkdir(mode=0o700)
    place.folder.mkdir(mode=0o700)
    for name in FOLDERS:
        (place.folder / name).mkdir(mode=0o755 if name in ("inputs", "models") else 0o700)
    place.checkpoint.mkdir(mode=0o700, parents=True, exist_ok=True)


def lay(stored: Path, target: Path) -> None:
    """A copy that can be read and not changed; never another name for the stored bytes, which it could change.

    Where the file system shares blocks until one is written (XFS, Btrfs), it takes neither time nor room.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if not _shared(stored, target):
        shutil.copyfile(stored, target)
    target.chmod(0o444)


def _shared(stored: Path, target: Path) -> bool:
    """Let the kernel copy, which shares blocks where it can; False where it cannot copy between these."""
    if not hasattr(os, "copy_file_range"):
        return False
    with stored.open("rb") as given, target.open("wb") as made:
        left = os.fstat(given.fileno()).st_size
        try:
            while left and (copied := os.copy_file_range(given.fileno(), made.fileno(), left)):
                left -= copied
        except OSError as error:
            if error.errno not in NOT_IN_KERNEL:
                raise
            return False
    return not left


def hand_over(place: ScriptPlace, uid: int | None) -> None:
    """Let the script have what is its own; what it reads stays ours."""
    if uid is not None:
        os.chown(place.folder, uid, uid)  # and 0700: other scripts, who may learn its name, see nothing of it
    for folder in place.writable:
        give_to(folder, uid)
    for name in ("inputs", "models"):
        for parent, _, _ in os.walk(place.folder / name, topdown=False):
            Path(parent).chmod(0o555)


def take_away(place: ScriptPlace) -> None:
    """Remove what one process had for itself."""
    for folder in (place.folder, place.desk):
        if folder.exists():
            folder.chmod(0o700)
            remove(folder)


def measure(folders: tuple[Path, ...], most_bytes: int) -> Use:
    """What is in there; counting ends where it is more than allowed. Names come and go meanwhile."""
    size_bytes = entries = 0
    waiting = [str(folder) for folder in folders]
    while waiting and size_bytes <= most_bytes and entries <= MOST_ENTRIES:
        with suppress(OSError), os.scandir(waiting.pop()) as found:
            for entry in found:
                entries += 1
                with suppress(OSError):
                    told = entry.stat(follow_symlinks=False)
                    size_bytes += told.st_blocks * 512
                    if stat.S_ISDIR(told.st_mode):
                        waiting.append(entry.path)
    return Use(size_bytes, entries)


def left_bytes(folders: tuple[Path, ...]) -> int:
    """What the plain files below would have in the store, where their holes are bytes."""
    size_bytes = 0
    for path in (path for folder in folders for path in _plain_files(folder)):
        with suppress(OSError):
            size_bytes += path.lstat().st_size
    return size_bytes


def outputs_of(folder: Path) -> list[tuple[str, Path]]:
    """The plain files below a folder, by their path in it, in order; at most so many."""
    found = [
        (str(path.relative_to(folder)), path)
        for path in _plain_files(folder)
        if len(str(path.relative_to(folder))) <= LONGEST_PATH and _is_text(str(path.relative_to(folder)))
    ]
    return sorted(found)[:MOST_FILES]


def open_plain(path: Path) -> int:
    """A descriptor of a plain file. Raises OSError for what has become something else."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(f"{path} is no plain file")
    return fd


def pack(folder: Path, archive: Path) -> bool:
    """Put a checkpoint folder into an archive; False where nothing is in it."""
    count = 0
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as packed:
        for path in _plain_files(folder):
            with suppress(OSError), os.fdopen(open_plain(path), "rb") as file:
                told = tarfile.TarInfo(str(path.relative_to(folder)))
                told.size, told.mtime, told.mode = os.fstat(file.fileno()).st_size, 0, 0o600
                packed.addfile(told, file)
                count += 1
    return count > 0


def unpack(archive: Path, folder: Path) -> None:
    """The checkpoint folder again, as it was packed."""
    with tarfile.open(archive, "r:") as packed:
        packed.extractall(folder, filter="data")


def _plain_files(folder: Path) -> Iterator[Path]:
    for parent, names, files in os.walk(folder):
        names.sort()
        for name in sorted(files):
            path = Path(parent, name)
            with suppress(OSError):
                if stat.S_ISREG(path.lstat().st_mode):
                    yield path


def _is_text(path: str) -> bool:
    """Whether it can be a name in the API: text without control characters."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return all(ord(letter) >= 0x20 and ord(letter) != 0x7F for letter in path) and "\\" not in path
