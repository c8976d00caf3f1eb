"""Processes: who they are beyond their pid, and that only former children are ended."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.workers.node.world import is_running, until
from tests.workers.patience import WITHIN_S
from workers.node.processes import Child, Identity, Program, boot_id, spawn, start_time, sweep

WAIT = "import sys; print('begun', flush=True); sys.stdin.read(); __import__('time').sleep(60)"


@pytest.fixture
def parent_fd() -> Iterator[int]:
    read_end, write_end = os.pipe()
    yield read_end
    os.close(read_end)
    os.close(write_end)


async def start(tmp_path: Path, parent_fd: int, code: str = WAIT) -> Child:
    command = [sys.executable, "-I", "-S", "-c", code]
    return await spawn(Program(command, {"A": "b"}, tmp_path, tmp_path / "log", parent_fd))


async def test_a_process_keeps_its_start_time_as_long_as_it_lives(tmp_path: Path, parent_fd: int) -> None:
    child = await start(tmp_path, parent_fd)
    assert child.identity.started == start_time(child.identity.pid) is not None
    assert child.identity.boot_id == boot_id() is not None
    child.kill()
    assert await asyncio.wait_for(child.ended, WITHIN_S) == -signal.SIGKILL
    assert start_time(child.identity.pid) is None


async def test_the_end_of_a_child_is_known_at_once_with_its_code(tmp_path: Path, parent_fd: int) -> None:
    child = await start(tmp_path, parent_fd, "raise SystemExit(7)")
    assert await asyncio.wait_for(child.ended, WITHIN_S) == 7


async def test_a_child_inherits_no_other_file_than_the_pipe(tmp_path: Path, parent_fd: int) -> None:
    code = "import os; print(sorted(fd for fd in range(3, 200) if os.path.exists(f'/dev/fd/{fd}') and os.stat(fd)))"
    with (tmp_path / "secret").open("w"):
        child = await start(tmp_path, parent_fd, f"try:\n {code}\nexcept OSError as error: print(error)")
        await asyncio.wait_for(child.ended, WITHIN_S)
    assert (tmp_path / "log").read_text() == f"[{parent_fd}]\n"


async def test_ending_a_child_ends_what_it_has_started(tmp_path: Path, parent_fd: int) -> None:
    code = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {WAIT!r}]).pid, flush=True)"
    child = await start(tmp_path, parent_fd, code)
    await asyncio.wait_for(child.ended, WITHIN_S)
    # Both write into the log: who was first is the scheduler's business.
    [grandchild] = [int(word) for word in (tmp_path / "log").read_text().split() if word.isdecimal()]
    child.kill()

    async def has_ended() -> bool:
        return not is_running(grandchild)

    await until(has_ended)


async def test_only_the_very_process_of_a_former_life_is_swept(tmp_path: Path, parent_fd: int) -> None:
    child = await start(tmp_path, parent_fd)
    known = child.identity
    strangers = [replace(known, started="1"), replace(known, boot_id="another"), replace(known, started=None)]
    assert await asyncio.to_thread(sweep, [*strangers, Identity(2**22 + 1, "5", known.boot_id)]) == []
    assert is_running(known.pid)
    assert await asyncio.to_thread(sweep, [known]) == [known.pid]
    assert await asyncio.wait_for(child.ended, WITHIN_S) == -signal.SIGKILL
