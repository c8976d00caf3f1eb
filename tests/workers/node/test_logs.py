"""Log files of replicas: bounded, read from their end."""

from datetime import timedelta
from pathlib import Path

import pytest

from workers.node import logs
from workers.node.logs import cap, last_lines, older_part, prune, read_added, read_tail

WEEK = timedelta(days=7)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "rep_1.log"


def test_a_log_that_has_grown_too_large_is_cut_and_its_end_is_kept(log: Path) -> None:
    log.write_bytes(b"a" * logs.MOST_BYTES + b"the end")
    cap(log)
    assert log.read_bytes() == b""
    assert older_part(log).stat().st_size == logs.MOST_BYTES
    assert read_tail(log, 7) == (b"the end", 0)


def test_a_log_of_a_sane_size_is_left_alone(log: Path) -> None:
    log.write_bytes(b"one\n")
    cap(log)
    assert log.read_bytes() == b"one\n"
    assert not older_part(log).exists()


def test_a_tail_begins_at_the_beginning_of_a_line(log: Path) -> None:
    log.write_bytes(b"first\nsecond\nthird\n")
    assert read_tail(log, 9) == (b"third\n", 19)
    assert read_tail(log, 100) == (b"first\nsecond\nthird\n", 19)


def test_a_tail_reaches_into_the_older_part(log: Path) -> None:
    older_part(log).write_bytes(b"first\nsecond\n")
    log.write_bytes(b"third\n")
    assert read_tail(log, 100) == (b"first\nsecond\nthird\n", 6)
    assert read_tail(log, 15) == (b"second\nthird\n", 6)


def test_a_log_that_does_not_exist_is_empty(log: Path) -> None:
    assert read_tail(log, 10) == (b"", 0)
    assert read_added(log, 0) == (b"", 0)
    assert last_lines(log, 3) == ""
    cap(log)


def test_what_is_added_is_read_on_also_after_a_cut(log: Path) -> None:
    log.write_bytes(b"one\n")
    assert read_added(log, 2) == (b"e\n", 4)
    assert read_added(log, 4) == (b"", 4)
    log.write_bytes(b"x\n")
    assert read_added(log, 4) == (b"x\n", 2)


def test_old_logs_go_except_those_of_living_replicas(tmp_path: Path, log: Path) -> None:
    dead, other = tmp_path / "rep_2.log", tmp_path / "keep.txt"
    files = [log, older_part(log), dead, older_part(dead), other]
    for file in files:
        file.touch()
    now_s = log.stat().st_mtime
    prune(tmp_path, {log}, WEEK, now_s)
    assert all(file.exists() for file in files)
    prune(tmp_path, {log}, WEEK, now_s + WEEK.total_seconds() + 60)
    assert [file for file in files if file.exists()] == [log, older_part(log), other]
