"""A small file system of its own, which goes with who made it however that ends."""

import subprocess
from contextlib import ExitStack
from pathlib import Path

# It reads until we close the pipe, or are killed.
KEEPER = 'mount -t tmpfs -o size="$1" portside-crash "$2" && echo mounted && { read -r _; umount -l "$2"; }'
DRIVE_BYTES = 96 * 1024 * 1024  # MinIO refuses to write to a drive that is nearly full: small, so that it is soon


def small_drive(drive: Path, ending: ExitStack) -> Path | None:
    """A file system of its own for MinIO, where we may mount one: only there it can really be out of space."""
    drive.mkdir(parents=True)
    # In a session of its own: what is sent to our group, be it by a terminal, ends us and not the keeper.
    keeper = subprocess.Popen(
        ["sh", "-c", KEEPER, "keeper", str(DRIVE_BYTES), str(drive)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert keeper.stdout is not None
    is_mounted = keeper.stdout.readline() == b"mounted\n"
    ending.callback(keeper.communicate)
    return drive if is_mounted else None
