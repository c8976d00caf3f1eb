"""What a cgroup (v2) keeps scripts from, where there is one to split: `make limits`, as root and as any other user.

    systemd-run --scope -p Delegate=yes make limits            (as root; `--user` before `--scope` as another user)

Not a part of `make test`: machines that build and test seldom give their tests a group. Nothing is tried before the
script has seen its limit itself.
"""

import os
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE, create_subprocess_exec
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest

from core.settings import MIB, Settings
from state.jobtables import Run
from tests.e2e.platform import RunningPlatform
from tests.workers.node.runworld import FINAL, RunWorld, open_run_world
from tests.workers.node.scriptworld import Scripts, processes_with, remove_places
from tests.workers.node.world import until
from workers.node.cgroups import CONTROLLERS, ground_of
from workers.node.isolation import Isolation, isolation_of

MARK = "script-in-a-cgroup"
MOST, MEMORY_MB = 24, 128
BUSY_S, SPINNERS = 2.0, 20
ROOM = f"""
import os, pathlib, sys, time
room = pathlib.Path("/sys/fs/cgroup", pathlib.Path("/proc/self/cgroup").read_text().rpartition("::")[2].strip()[1:])
if not (room / "pids.max").read_text().strip() == "{MOST}":
    sys.exit(f"there is no limit here: nothing is tried ({{room}})")
"""
EATS = f"""{ROOM}
if "{MEMORY_MB * MIB}" not in [(each / "memory.max").read_text().strip() for each in (room, room.parent)]:
    sys.exit("there is no limit here: nothing is tried")
for _ in range(4):  # each of them far below the limit
    if os.fork() == 0:
        eaten = bytearray(os.urandom(2**20) * 48)
        time.sleep(60)
time.sleep(60)
"""
FORKS = f"""{ROOM}
over = time.monotonic() + 2
while time.monotonic() < over:
    try:
        os.fork()
    except BlockingIOError:
        time.sleep(0.01)
sys.exit(3)
"""
LEAVES = f"""{ROOM}
import signal
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)
print("left", flush=True)
time.sleep(float(sys.argv[1]))
"""
SPINS = f"""{ROOM}
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
children = [os.fork() for _ in range({SPINNERS}) if os.getpid() == os.getsid(0)]
print("spins", flush=True)
while True:
    pass
"""
NESTS = f"""{ROOM}
(room / "below").mkdir()
if os.fork() == 0:
    (room / "below" / "cgroup.procs").write_text("0")
    os.setsid()
    time.sleep(600)
while not (room / "below" / "cgroup.procs").read_text():
    time.sleep(0.01)
print("nested", flush=True)
"""


@pytest.fixture
def isolation(data: Path) -> Isolation:
    """What this process has; there is nothing to try where that is not all."""
    found = isolation_of(Settings(data=data), prepares=True)
    if found.controllers != CONTROLLERS:
        pytest.fail(f"{'; '.join(found.gaps)}\n{__doc__}", pytrace=False)
    return found


@pytest.fixture(autouse=True)
def _cleaned(data: Path, isolation: Isolation) -> Iterator[None]:
    yield
    remove_places(data)


@pytest.fixture
async def scripts(data: Path, isolation: Isolation) -> AsyncIterator[Scripts]:
    """A platform with narrow limits."""
    async with open_run_world(data, runs_at_once=2, script_processes=MOST) as opened:
        yield Scripts(opened)


def groups(isolation: Isolation) -> list[str]:
    """What there is in the group that was split, but for the one of the node."""
    assert isolation.cgroup is not None
    return [each.name for each in isolation.cgroup.glob("portside-*") if each.name != "portside-node"]


async def ended(scripts: Scripts, isolation: Isolation, text: str, **changes: object) -> tuple[Run, str]:
    """How a run of the text ended, and what it wrote; nothing of it is left, and the platform lives."""
    run = await scripts.begin(text, variables={"MARK": MARK}, **changes)
    found = await scripts.runs.until(run, *FINAL)
    log = await scripts.log(run)
    assert "there is no limit" not in log
    assert (processes_with(MARK), groups(isolation)) == ([], []), log
    after = await scripts.begin("print(1)", name="after")
    assert (await scripts.runs.until(after, *FINAL)).status == "succeeded"
    return found, log


async def written(scripts: Scripts, run: Run, word: str) -> None:
    async def look() -> bool:
        return word in await scripts.log(run)

    await until(look)


async def test_processes_that_eat_memory_together_are_told_their_limit(scripts: Scripts, isolation: Isolation) -> None:
    run, log = await ended(scripts, isolation, EATS, resources={"cpu": None, "memory_mb": MEMORY_MB})
    assert (run.status, run.reason) == ("failed", "out_of_memory"), log
    assert f"more than its memory of {MEMORY_MB} MiB" in str(run.message)


async def test_one_without_a_limit_goes_before_the_rest_of_what_is_limited_together(
    data: Path, isolation: Isolation
) -> None:
    assert isolation.cgroup is not None
    together = isolation.cgroup / "together"
    together.mkdir()
    try:
        (together / "memory.max").write_text(str(MEMORY_MB * MIB))
        async with open_run_world(data, script_cgroup=together, script_processes=MOST) as opened:
            run, log = await ended(Scripts(opened), isolation, EATS)
        assert (run.status, run.reason) == ("failed", "out_of_memory"), log
        assert "has no limit of its own (resources.memory), was ended first" in str(run.message)
        assert [each for each in together.iterdir() if each.is_dir()] == []
    finally:
        together.rmdir()


def test_a_group_for_threads_is_said_to_be_none_for_scripts(isolation: Isolation) -> None:
    assert isolation.cgroup is not None
    threads = isolation.cgroup / "together" / "threads"
    threads.mkdir(parents=True)
    try:
        (threads / "cgroup.type").write_text("threaded")
        ground = ground_of(threads, prepares=True)
    finally:
        threads.rmdir()
        threads.parent.rmdir()
    assert ground.base is None
    assert "is for threads (threaded): no group below it may have a process" in str(ground.obstacle)


async def test_a_bomb_of_forks_meets_the_limit_and_is_told_it(scripts: Scripts, isolation: Isolation) -> None:
    run, log = await ended(scripts, isolation, FORKS)
    assert (run.status, run.reason) == ("failed", "script_failed"), log
    assert f"more than {MOST} processes and threads (PORTSIDE_SCRIPT_PROCESSES)" in str(run.message)


async def test_what_leaves_its_session_and_is_deaf_ends_with_its_script(scripts: Scripts, isolation: Isolation) -> None:
    run, log = await ended(scripts, isolation, LEAVES, args=["0.3"])
    assert run.status == "succeeded", log


async def test_many_that_are_busy_leave_the_core_to_the_platform(scripts: Scripts, isolation: Isolation) -> None:
    run = await scripts.begin(SPINS, variables={"MARK": MARK})
    await written(scripts, run, "spins")
    busy = "import os\nos.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\nwhile True: pass"
    ours = await create_subprocess_exec(sys.executable, "-c", busy)
    try:
        found = psutil.Process(ours.pid)

        async def look() -> bool:
            return sum(found.cpu_times()[:2]) > BUSY_S

        before_s = spent_s(isolation)
        await until(look)
        theirs_s = spent_s(isolation) - before_s
    finally:
        ours.kill()
        await ours.wait()
    await scripts.runs.ground.act(run, "stop")
    await scripts.runs.until(run, "stopped")
    assert groups(isolation) == []
    assert theirs_s < 0.7 * BUSY_S  # a fifth is their share, and by niceness alone it were more than twice ours


def spent_s(isolation: Isolation) -> float:
    """The processor time of the one script that runs."""
    assert isolation.cgroup is not None
    [group] = groups(isolation)
    told = (isolation.cgroup / group / "cpu.stat").read_text().split()
    return int(told[told.index("usage_usec") + 1]) / 1e6


@pytest.mark.skipif(os.getuid() == 0, reason="a script with a user of its own may make no groups")
async def test_a_group_that_a_script_makes_in_its_own_goes_too(scripts: Scripts, isolation: Isolation) -> None:
    run, log = await ended(scripts, isolation, NESTS)
    assert run.status == "succeeded", log
    assert "nested" in log


async def killed(root: Path, data: Path, *, with_keeper: bool) -> None:
    """A node is killed while a script runs that has started others; its keeper too, or not."""
    command = (sys.executable, "-m", "tests.workers.node.on_cgroups", str(data))
    process = await create_subprocess_exec(*command, cwd=root, stdout=PIPE)
    try:
        assert process.stdout is not None
        keeper = int(await process.stdout.readline())
        if with_keeper:
            os.kill(process.pid, signal.SIGSTOP)  # it would see to it itself
            os.kill(keeper, signal.SIGKILL)
    finally:
        process.kill()
        await process.wait()


async def test_a_killed_node_leaves_no_group(repository_root: Path, data: Path, isolation: Isolation) -> None:
    await killed(repository_root, data, with_keeper=False)

    async def look() -> bool:
        return not processes_with(MARK) and not groups(isolation)

    await until(look)


async def test_what_a_killed_keeper_leaves_goes_at_the_next_start(
    repository_root: Path, data: Path, isolation: Isolation
) -> None:
    await killed(repository_root, data, with_keeper=True)
    [group], left = groups(isolation), processes_with(MARK)
    assert left
    async with open_run_world(data, script_processes=MOST, runs_at_once=2):  # which goes on with the run

        async def look() -> bool:
            return group not in groups(isolation) and not any(map(psutil.pid_exists, left))

        await until(look)


def test_the_doctor_says_what_a_running_platform_has(tmp_path: Path, isolation: Isolation) -> None:
    with RunningPlatform.start(tmp_path / "up") as running:
        command = [sys.executable, "-m", "portside", "doctor", "--data", str(running.data), "--port", "0"]
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    line = next(each for each in said.splitlines() if "   scripts " in each)
    assert "cgroup limits of cpu, memory, pids" in line


async def _alone(world: RunWorld) -> None:
    """Begin a script that has started others, and say who keeps it."""
    scripts = Scripts(world)
    run = await scripts.begin(LEAVES, variables={"MARK": MARK}, args=["600"])
    keeper = await world.running(run)
    await written(scripts, run, "left")
    print(keeper, flush=True)


if __name__ == "__main__":
    import asyncio

    async def main() -> None:
        async with open_run_world(Path(sys.argv[1]), script_processes=MOST) as opened:
            await _alone(opened)
            await asyncio.Event().wait()

    asyncio.run(main())
