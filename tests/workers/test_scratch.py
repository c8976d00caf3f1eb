"""What children unpack lies in the data folder, and never outlives the process that asked for it for long."""

import sys
from asyncio.subprocess import PIPE, create_subprocess_exec
from pathlib import Path

import pytest

from workers.scratch import open_scratch, scratch_folder, sweep_scratch

KEEPS_ONE = """
import sys, pathlib
from workers.scratch import open_scratch
path = open_scratch(pathlib.Path(sys.argv[1])).path
(path / "model").write_bytes(b"unpacked")
print(path, flush=True)
sys.stdin.read()
"""


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_folder_is_private_absolute_and_gone_after_its_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with scratch_folder(Path("data")) as folder:
        assert (folder.parent, folder.stat().st_mode & 0o777) == (tmp_path / "data" / "scratch", 0o700)
        (folder / "model").write_bytes(b"unpacked")
    assert not folder.exists()


async def test_the_folder_of_a_living_process_is_kept_and_that_of_a_killed_one_is_swept(
    tmp_path: Path, repository_root: Path
) -> None:
    command = (sys.executable, "-c", KEEPS_ONE, str(tmp_path))
    process = await create_subprocess_exec(*command, cwd=repository_root, stdin=PIPE, stdout=PIPE)
    try:
        assert process.stdout is not None
        folder = Path((await process.stdout.readline()).decode().strip())
        sweep_scratch(tmp_path)
        assert names(folder) == ["model"]
    finally:
        process.kill()
        await process.wait()
    ours = open_scratch(tmp_path)
    assert names(tmp_path / "scratch") == [ours.path.name] != [folder.name]
    ours.remove()
    assert names(tmp_path / "scratch") == []


def test_sweeping_makes_nothing(tmp_path: Path) -> None:
    sweep_scratch(tmp_path)
    assert names(tmp_path) == []
    (tmp_path / "scratch" / "left").mkdir(parents=True)
    sweep_scratch(tmp_path)
    assert names(tmp_path / "scratch") == []
