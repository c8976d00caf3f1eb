"""What is laid for a script: bytes of its own, whatever it does to them."""

import stat
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from workers.node.scriptfiles import lay

ELSEWHERE = Path("/dev/shm")  # another file system than that of the test's folder


@pytest.mark.parametrize("size", [0, 1, 3_000_000])
def test_what_a_script_reads_is_no_other_name_for_the_stored_bytes(tmp_path: Path, size: int) -> None:
    stored, target = tmp_path / "stored", tmp_path / "inputs" / "train" / "flats.csv"
    stored.write_bytes(b"x" * size)
    lay(stored, target)
    assert target.read_bytes() == stored.read_bytes()
    assert stat.S_IMODE(target.stat().st_mode) == 0o444
    assert (target.stat().st_ino != stored.stat().st_ino, stored.stat().st_nlink) == (True, 1)
    target.chmod(0o600)
    target.write_bytes(b"spoilt")
    assert stored.read_bytes() == b"x" * size


def test_a_store_on_another_file_system_is_copied_from_too(tmp_path: Path) -> None:
    if not ELSEWHERE.is_dir():
        pytest.skip("there is no second file system")
    with TemporaryDirectory(dir=ELSEWHERE) as folder:  # a name of its own: who else tests here has the same test
        stored = Path(folder) / "stored"
        stored.write_bytes(b"far away")
        lay(stored, tmp_path / "near")
    assert (tmp_path / "near").read_bytes() == b"far away"
