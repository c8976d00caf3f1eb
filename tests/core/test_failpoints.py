"""Failpoints: inert unless armed, armed by a list or by a file, and each of them stands somewhere in the product."""

import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from core.failpoints import POINTS, FailpointReached, Trap, arm, failpoint, parse_traps
from tests.architecture.tree import ROOMS

ROOT = Path(__file__).resolve().parents[2]
CALL = re.compile(r'\bfailpoint\("(\w+)"\)')


def passing_by(name: str, times: int, points: str, log: Path) -> "subprocess.CompletedProcess[str]":
    """A process that is armed and comes by so many times; it says each time that it lives."""
    program = (
        "import pathlib, sys\nfrom core.failpoints import arm, failpoint\n"
        "name, times, points, log = sys.argv[1:]\narm(points, pathlib.Path(log))\n"
        "for number in range(int(times)):\n    failpoint(name)\n    print(number + 1, flush=True)\n"
    )
    command = [sys.executable, "-c", program, name, str(times), points, str(log)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_every_failpoint_stands_in_the_product_and_every_call_names_one() -> None:
    found = Counter(
        name for room in ROOMS for path in (ROOT / room).rglob("*.py") for name in CALL.findall(path.read_text("utf-8"))
    )
    assert set(found) == set(POINTS)


def test_an_unarmed_failpoint_does_nothing_and_costs_next_to_nothing() -> None:
    began = time.thread_time()
    for _ in range(100_000):
        failpoint("after_claim")
    assert (time.thread_time() - began) / 100_000 < 2e-6


def test_a_process_kills_itself_the_nth_time_and_says_so_before(tmp_path: Path) -> None:
    ended = passing_by("after_claim", 5, "after_claim=kill@3", tmp_path / "log")
    assert (ended.returncode, ended.stdout) == (-signal.SIGKILL, "1\n2\n")
    assert re.fullmatch(r"after_claim kill \d+\n", (tmp_path / "log").read_text())


def test_raise_fails_once_as_a_bug_would(tmp_path: Path) -> None:
    arm("after_claim=raise@2,before_effect=raise", tmp_path / "log")
    try:
        failpoint("after_claim")
        with pytest.raises(FailpointReached, match="after_claim"):
            failpoint("after_claim")
        failpoint("after_claim")
        with pytest.raises(FailpointReached):
            failpoint("before_effect")
    finally:
        arm(None)
    assert len((tmp_path / "log").read_text().splitlines()) == 2


def test_a_trap_may_go_on_from_the_nth_time(tmp_path: Path) -> None:
    arm("after_claim=raise@2+", tmp_path / "log")
    try:
        failpoint("after_claim")
        for _ in range(3):
            with pytest.raises(FailpointReached):
                failpoint("after_claim")
    finally:
        arm(None)
    assert len((tmp_path / "log").read_text().splitlines()) == 3


def test_a_file_arms_a_running_process_and_is_taken_away_by_the_one_that_acts(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    arm(f"@{trap}", tmp_path / "log")
    try:
        failpoint("after_claim")
        trap.write_text("after_claim=raise@2 # first")
        failpoint("after_claim")
        with pytest.raises(FailpointReached):
            failpoint("after_claim")
        assert not trap.exists()
        failpoint("after_claim")
        trap.write_text("after_claim=raise@1 # second")
        with pytest.raises(FailpointReached):
            failpoint("after_claim")
    finally:
        arm(None)


def test_of_two_processes_one_dies_by_a_file(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    trap.write_text("after_claim=kill")
    statuses = [passing_by("after_claim", 1, f"@{trap}", tmp_path / "log").returncode for _ in range(2)]
    assert sorted(statuses) == [-signal.SIGKILL, 0]


def test_a_wrong_word_is_named() -> None:
    assert parse_traps(" after_claim=stop , ") == {"after_claim": Trap("stop", 1)}
    assert parse_traps("after_claim=stop@3+") == {"after_claim": Trap("stop", 3, goes_on=True)}
    with pytest.raises(ValueError, match="there is no failpoint 'nowhere'"):
        parse_traps("nowhere=kill")
    for wrong in ("after_claim=explode", "after_claim=kill@0+", "after_claim=kill@x", "after_claim"):
        with pytest.raises(ValueError, match="is no failpoint: write after_claim=kill@1, with kill or stop or raise"):
            parse_traps(wrong)
