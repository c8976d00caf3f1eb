"""Short children and the environment that every child gets."""

import json
import sys
from pathlib import Path

from workers.children import ROOMS, STDERR_KEPT_BYTES, STDOUT_KEPT_BYTES, child_environment, run_child

SHOW = "import json, os; print(json.dumps(dict(os.environ)))"


async def test_a_child_is_given_our_folders_whatever_the_user_wants(tmp_path: Path) -> None:
    wanted = {"PYTHONPATH": "elsewhere", "PORTSIDE_JVM_ARCHIVES": "elsewhere", "COLOR": "blue"}
    environment = child_environment(tmp_path, wanted)
    end = await run_child([sys.executable, "-c", SHOW], environment=environment, stdin=b"", timeout_s=60)
    seen = json.loads(end.stdout)
    assert seen["PYTHONPATH"] == str(ROOMS)
    assert seen["PORTSIDE_JVM_ARCHIVES"] == str(tmp_path / "jvm")
    assert seen["COLOR"] == "blue"
    assert seen["PYTHONNOUSERSITE"] == "1"  # a HOME of the user's would bring packages along
    assert "PYTEST_CURRENT_TEST" not in seen


async def test_a_child_that_prints_without_end_is_ended(tmp_path: Path) -> None:
    endless = "import sys\nwhile True: sys.stdout.write('x' * 2**20)"
    end = await run_child(
        [sys.executable, "-c", endless], environment=child_environment(tmp_path, {}), stdin=b"", timeout_s=60
    )
    assert (end.exit_code, end.timed_out) == (-9, False)
    assert STDOUT_KEPT_BYTES - STDERR_KEPT_BYTES < len(end.stdout) <= STDOUT_KEPT_BYTES
    assert end.stderr.endswith("it printed more than 64 MiB\n")


async def test_a_child_need_not_read_and_its_last_errors_are_kept(tmp_path: Path) -> None:
    noisy = "import sys\nsys.stderr.write('a' * 10**6 + 'last')\nprint('out')"
    environment = child_environment(tmp_path, {})
    end = await run_child([sys.executable, "-c", noisy], environment=environment, stdin=b"x" * 10**7, timeout_s=60)
    assert (end.exit_code, end.stdout, len(end.stderr)) == (0, b"out\n", STDERR_KEPT_BYTES)
    assert end.stderr.endswith("aalast")


async def test_what_a_child_said_before_its_time_was_up_is_kept(tmp_path: Path) -> None:
    slow = ["/bin/sh", "-c", "echo out; printf waits >&2; exec sleep 60"]  # a shell: it is there in no time
    end = await run_child(slow, environment=child_environment(tmp_path, {}), stdin=b"", timeout_s=2)
    assert (end.timed_out, end.stdout, end.stderr) == (True, b"out\n", "waits")
