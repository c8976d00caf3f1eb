"""Scripts that mean harm, or know no better: the platform lives, each end is explained, no process is left.

Nothing here is tried without a limit of the kernel that was looked at first, by the script itself.
"""

import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from state.jobtables import Run
from tests.workers.node.runworld import FINAL, open_run_world
from tests.workers.node.scriptworld import Scripts, processes_with, remove_places
from tests.workers.node.world import until

MARK = "hostile-script"
DISK_MB = 32
MOST = 24

FORKS = f"""
import os, resource, sys, time
limit = resource.getrlimit(resource.RLIMIT_NPROC)[0]
if os.getuid() == 0 or not 0 < limit <= {MOST}:
    sys.exit("there is no limit here: nothing is tried")
children = 0
for attempt in range(10 * {MOST}):  # and not one more, whatever happens; the children fork nothing
    try:
        if os.fork() == 0:
            time.sleep(20)
            os._exit(0)
        children += 1
    except BlockingIOError:
        print("had", children, flush=True)
        raise
sys.exit("the limit did not hold")
"""
EATS = """
import resource, sys
limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
if not 0 < limit <= 2**28:
    sys.exit("there is no limit here: nothing is tried")
eaten = [bytearray(2**20) for _ in range(1024)]
"""
IGNORES = """
import signal, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(60)
"""
FILLS = f"""
import time
with open("much", "wb") as much:
    for _ in range(4 * {DISK_MB}):
        much.write(b"x" * 2**20)
        much.flush()
        time.sleep(0.02)
time.sleep(60)
"""
SHOUTS = """
import sys
line = b"x" * 1023 + b"\\n"
for _ in range(64):
    sys.stdout.buffer.write(line * 1024)
print("the end", flush=True)
"""
CLOSES = """
import os
os.closerange(0, 100)
os._exit(7)
"""
LEAVES = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        os.closerange(0, 100)
        time.sleep(60)
    os._exit(0)
time.sleep(0.3)
print("gone", flush=True)
"""
LIES = """
import os
fd = int(os.environ["PORTSIDE_REPORT_FD"])
for line in (b"nonsense", b'{"type": "chunk"}', b"[" * 10000, b'{"values": {"a": [1]}}', b'{"values": {"a": 1e999}}',
             b'{"type": "progress", "percent": 1000}', b'{"type": "metrics", "values": {"ok": 1}}', b"x" * 100000):
    os.write(fd, line + b"\\n")
"""
READS = """
import os, sys
seen = []
for path in sys.argv[1:]:
    try:
        open(path, "rb").read(1)
        seen.append(path)
    except OSError as error:
        print(path, error.strerror)
sys.exit(f"could read {seen}" if seen else 0)
"""


@pytest.fixture(autouse=True)
def _cleaned(data: Path) -> Iterator[None]:
    yield
    remove_places(data)


@pytest.fixture
async def scripts(data: Path) -> AsyncIterator[Scripts]:
    """A platform with narrow limits."""
    async with open_run_world(data, runs_at_once=2, script_disk_mb=DISK_MB, script_processes=MOST) as opened:
        yield Scripts(opened)


async def ended(scripts: Scripts, text: str, **changes: object) -> tuple[Run, str]:
    """How a run of the text ended, and what it wrote; nothing of it is left, and the platform lives."""
    run = await scripts.begin(text, variables={"MARK": MARK}, **changes)
    found = await scripts.runs.until(run, *FINAL)
    assert processes_with(MARK) == []
    after = await scripts.begin("print(1)", name="after")
    assert (await scripts.runs.until(after, *FINAL)).status == "succeeded"
    return found, await scripts.log(run)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give scripts users of their own")
async def test_one_that_forks_meets_its_limit(scripts: Scripts) -> None:
    run, log = await ended(scripts, FORKS)
    assert (run.status, run.reason) == ("failed", "script_failed")
    assert "Resource temporarily unavailable" in str(run.message), log
    assert "there is no limit" not in log


async def test_one_that_eats_memory_is_told_its_limit(scripts: Scripts) -> None:
    run, log = await ended(scripts, EATS, resources={"cpu": None, "memory_mb": 128})
    assert (run.status, run.reason) == ("failed", "out_of_memory"), log
    assert "128 MiB" in str(run.message)


async def test_one_that_ignores_signals_is_gone_in_two_seconds(scripts: Scripts) -> None:
    run = await scripts.begin(IGNORES, variables={"MARK": MARK})

    async def is_deaf() -> bool:
        return "deaf" in await scripts.log(run)

    await until(is_deaf)
    began = time.monotonic()
    await scripts.runs.ground.act(run, "stop")
    await scripts.runs.until(run, "stopped")
    assert processes_with(MARK) == []
    assert time.monotonic() - began < 10  # two seconds on a machine of one's own


async def test_one_that_fills_its_folder_is_ended(scripts: Scripts) -> None:
    run, _ = await ended(scripts, FILLS)
    assert (run.status, run.reason) == ("failed", "script_disk_full")
    assert f"{DISK_MB} MiB" in str(run.message)


@pytest.mark.parametrize("folder", ["PORTSIDE_OUTPUTS", "PORTSIDE_CHECKPOINT"])
async def test_one_that_leaves_a_file_of_holes_fills_no_store(scripts: Scripts, folder: str) -> None:
    text = f"import os\nwith open(os.environ['{folder}'] + '/holes', 'wb') as file:\n    file.truncate(2**40)\n"
    run, _ = await ended(scripts, text)
    assert (run.status, run.reason) == ("failed", "script_disk_full")
    assert "holes" in str(run.message)


async def test_one_that_writes_without_end_keeps_only_the_last_of_it(scripts: Scripts) -> None:
    run, log = await ended(scripts, SHOUTS)
    assert run.status == "succeeded"
    assert "the end" in log[-100:]

    async def is_small() -> bool:
        path = next(iter((scripts.runs.world.settings.data / "logs" / "runs").glob(f"{run.id}.log")))
        return path.stat().st_size < 70_000_000

    await until(is_small)


async def test_one_that_closes_everything_is_understood(scripts: Scripts) -> None:
    run, _ = await ended(scripts, CLOSES)
    assert (run.status, run.reason) == ("failed", "script_failed")
    assert "exit code 7" in str(run.message)


async def test_one_that_leaves_its_session_leaves_nothing(scripts: Scripts) -> None:
    run, log = await ended(scripts, LEAVES)
    assert run.status == "succeeded", log
    assert "gone" in log


async def test_what_is_no_report_is_not_kept(scripts: Scripts) -> None:
    run, log = await ended(scripts, LIES)
    assert run.status == "succeeded", log
    assert [values for _, values in await scripts.reports(run)] == [{"a": None}, {"ok": 1}]


KILLS = """
import os, signal, time
if os.fork() == 0:
    os.setsid()
    time.sleep(60)
os.kill(os.getppid(), signal.SIGKILL)
time.sleep(60)
"""


async def test_one_that_kills_its_keeper_leaves_nothing_either(data: Path) -> None:
    async with open_run_world(data, script_uids="") as opened:  # with a user of its own it could not
        scripts = Scripts(opened)
        run = await scripts.begin(KILLS, variables={"MARK": MARK})
        found = await opened.until(run, *FINAL)
        assert (found.status, found.reason) == ("failed", "run_crashed")
        assert processes_with(MARK) == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give scripts users of their own")
async def test_one_that_looks_around_sees_nothing_of_the_platform(scripts: Scripts) -> None:
    data = scripts.runs.world.settings.data
    (data / "secret.key").write_bytes(b"k")
    places = [str(data / "secret.key"), str(data / "portside.db"), "/proc/1/environ", "/etc/shadow"]
    run, log = await ended(scripts, READS, args=places)
    assert run.status == "succeeded", log
