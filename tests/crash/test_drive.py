"""The small drive of the campaign goes with who made it, however that ends."""

import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from tests.crash.drive import small_drive

MAKES_ONE = """
import sys, time
from contextlib import ExitStack
from pathlib import Path
from tests.crash.drive import small_drive
print(small_drive(Path(sys.argv[1]), ExitStack()), flush=True)
time.sleep(600)
"""
WITHIN_S = 60.0


def is_mounted(drive: Path) -> bool:
    return any(line.split()[1] == str(drive) for line in Path("/proc/mounts").read_text("utf-8").splitlines())


def test_it_is_unmounted_at_the_end(tmp_path: Path) -> None:
    with ExitStack() as ending:
        made = small_drive(tmp_path / "drive", ending)
        assert is_mounted(tmp_path / "drive") == (made is not None)
    assert not is_mounted(tmp_path / "drive")


def test_it_is_unmounted_when_its_maker_is_killed(tmp_path: Path) -> None:
    drive = tmp_path / "drive"
    with subprocess.Popen([sys.executable, "-c", MAKES_ONE, str(drive)], stdout=subprocess.PIPE) as maker:
        assert maker.stdout is not None
        said = maker.stdout.readline()
        was_mounted = is_mounted(drive)
        maker.kill()
    assert was_mounted == (said != b"None\n")  # where nothing can be mounted, it says so
    deadline = time.monotonic() + WITHIN_S
    while is_mounted(drive):
        assert time.monotonic() < deadline
        time.sleep(0.01)
